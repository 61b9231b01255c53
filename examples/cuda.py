"""The usual choice of a device: CUDA where there is one, else the CPU.

    python -m flambeau examples/cuda.py
"""
import torch
import torch.nn as nn

device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
print(f'computing on {device}')

model = nn.Linear(4, 2).to(device)
x = torch.randn(3, 4, device=device)
y = model(x)
print(y)
if torch.cuda.is_available():
    print(f'{torch.cuda.memory_allocated(device)} bytes on {torch.cuda.get_device_name(device)}')
