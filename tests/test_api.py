"""Names that programs import: where PyTorch has them, flambeau has them; and what the small ones among them do."""
import collections
import importlib
import multiprocessing
import subprocess
import sys
import warnings

import pytest

import flambeau as torch

# module or class: names
NAMES = {
    'torch': '''
        BFloat16Tensor BoolTensor ByteTensor CharTensor DoubleTensor FloatTensor Generator HalfTensor
        IntTensor LongTensor ShortTensor Size Tensor TypedStorage UntypedStorage __version__ _foreach_add
        _foreach_add_ _foreach_addcdiv_ _foreach_addcmul_ _foreach_div _foreach_div_ _foreach_lerp_
        _foreach_maximum_ _foreach_mul _foreach_mul_ _foreach_neg _foreach_neg_ _foreach_reciprocal_
        _foreach_sqrt _foreach_sqrt_ _foreach_sub_ abs addcmul all allclose amp any arange
        are_deterministic_algorithms_enabled argmax argsort as_tensor autocast autograd backends bfloat16
        bmm bool cat cdist channels_last chunk clamp clip clone compiler cos cumprod cumsum
        default_generator device diag div dot dtype e einsum empty empty_like enable_grad eq equal exp eye
        finfo flatten float float16 float32 float64 from_numpy full full_like gather get_autocast_dtype
        get_default_device get_default_dtype get_deterministic_debug_mode get_float32_matmul_precision
        get_num_interop_threads get_num_threads get_rng_state gt iinfo inf inference_mode initial_seed int
        int64 is_autocast_cache_enabled is_autocast_enabled is_complex
        is_deterministic_algorithms_warn_only_enabled is_grad_enabled is_inference_mode_enabled is_storage
        is_tensor is_warn_always_enabled isfinite isnan jit layout linalg linspace load log log2 logsumexp
        long manual_seed matmul max mean memory_format meshgrid min mul multinomial multiprocessing nan
        newaxis no_grad norm normal ones ones_like ops pi pow preserve_format prod rand rand_like randint
        randn randn_like random randperm repeat_interleave roll round rsqrt save seed serialization
        set_default_device set_default_dtype set_default_tensor_type set_deterministic_debug_mode
        set_float32_matmul_precision set_flush_denormal set_num_interop_threads set_num_threads
        set_printoptions set_rng_state set_warn_always sigmoid sign sin softmax sort split sqrt square stack
        std strided sum tanh tensor testing topk tril triu typename uint16 uint8 unbind unique unsqueeze
        use_deterministic_algorithms utils var view_as_real vmap where zeros zeros_like''',
    'torch._tensor': 'Tensor',
    'torch._utils': '_flatten_dense_tensors _unflatten_dense_tensors',
    'torch.amp': 'GradScaler autocast custom_bwd custom_fwd is_autocast_available',
    'torch.amp.autocast_mode': 'autocast',
    'torch.cpu.amp': 'GradScaler autocast',
    'torch.cuda.amp': 'GradScaler autocast',
    'torch.autograd': '''
        Function Variable backward detect_anomaly grad gradcheck no_grad set_detect_anomaly set_grad_enabled''',
    'torch.autograd.anomaly_mode': 'detect_anomaly',
    'torch.autograd.function': 'Function FunctionCtx once_differentiable',
    'torch.autograd.functional': 'jacobian',
    'torch.autograd.grad_mode': 'no_grad',
    'torch.autograd.graph': 'Node save_on_cpu saved_tensors_hooks',
    'torch.autograd.variable': 'Variable',
    'torch.backends': 'cuda cudnn',
    'torch.backends.cuda': '''
        enable_flash_sdp enable_math_sdp enable_mem_efficient_sdp flash_sdp_enabled is_built matmul''',
    'torch.backends.cuda.matmul': 'allow_tf32',
    'torch.backends.cudnn': 'allow_tf32 benchmark deterministic enabled flags version',
    'torch.backends.mkl': 'is_available',
    'torch.backends.mkldnn': 'is_available',
    'torch.backends.mps': 'is_available is_built',
    'torch.backends.openmp': 'is_available',
    'torch.compiler': 'allow_in_graph disable is_compiling is_dynamo_compiling is_exporting reset',
    'torch.fft': 'fft fftshift rfft2',
    'torch.func': 'functional_call grad grad_and_value hessian jacfwd jacrev jvp vjp vmap',
    'torch.functional': 'einsum norm',
    'torch.jit': '''
        Final _overload_method annotate annotations export ignore interface is_scripting is_tracing
        isinstance unused''',
    'torch.linalg': 'matrix_norm norm pinv vector_norm',
    'torch.multiprocessing': 'Pool Process Queue cpu_count get_context set_sharing_strategy set_start_method spawn',
    'torch.nn': '''
        AdaptiveAvgPool2d AvgPool2d BatchNorm1d BatchNorm2d BatchNorm3d Buffer Conv1d Conv2d Conv3d
        ConvTranspose2d CrossEntropyLoss DataParallel Dropout Embedding EmbeddingBag Flatten GELU GRU
        GroupNorm Hardswish Identity InstanceNorm1d InstanceNorm2d InstanceNorm3d L1Loss LSTM LayerNorm
        LeakyReLU Linear MSELoss MaxPool2d Module ModuleDict ModuleList MultiheadAttention Parameter
        ParameterList RMSNorm RNN ReLU ReLU6 Sequential SiLU Sigmoid Softmax Softplus SyncBatchNorm Tanh
        Unfold Upsample ZeroPad2d init modules parallel utils''',
    'torch.nn.Embedding': 'from_pretrained',
    'torch.nn.attention': 'SDPBackend sdpa_kernel',
    'torch.nn.common_types': '_size_2_t',
    'torch.nn.functional': '''
        adaptive_avg_pool2d adaptive_max_pool2d affine_grid avg_pool2d batch_norm
        binary_cross_entropy_with_logits conv2d cross_entropy dropout gelu grid_sample group_norm
        interpolate kl_div l1_loss layer_norm linear log_softmax max_pool2d mse_loss normalize one_hot pad
        relu rms_norm scaled_dot_product_attention sigmoid silu softmax softplus tanh unfold''',
    'torch.nn.init': '''
        _calculate_fan_in_and_fan_out constant_ kaiming_normal_ kaiming_uniform_ normal_ ones_ orthogonal_
        trunc_normal_ uniform_ xavier_normal_ xavier_uniform_ zeros_''',
    'torch.nn.modules': 'Linear batchnorm',
    'torch.nn.modules.activation': 'MultiheadAttention ReLU',
    'torch.nn.modules.adaptive': 'AdaptiveLogSoftmaxWithLoss',
    'torch.nn.modules.batchnorm': 'BatchNorm2d SyncBatchNorm _BatchNorm _NormBase',
    'torch.nn.modules.container': 'Sequential',
    'torch.nn.modules.conv': 'Conv2d _ConvNd',
    'torch.nn.modules.distance': 'CosineSimilarity',
    'torch.nn.modules.dropout': 'Dropout _DropoutNd',
    'torch.nn.modules.flatten': 'Flatten',
    'torch.nn.modules.fold': 'Unfold',
    'torch.nn.modules.instancenorm': '_InstanceNorm',
    'torch.nn.modules.linear': 'Linear',
    'torch.nn.modules.loss': 'CrossEntropyLoss _Loss _WeightedLoss',
    'torch.nn.modules.module': 'Module',
    'torch.nn.modules.normalization': 'GroupNorm LayerNorm',
    'torch.nn.modules.padding': 'ZeroPad2d',
    'torch.nn.modules.pixelshuffle': 'PixelShuffle',
    'torch.nn.modules.pooling': 'MaxPool2d',
    'torch.nn.modules.rnn': 'LSTM RNNBase',
    'torch.nn.modules.sparse': 'Embedding',
    'torch.nn.modules.transformer': 'Transformer _get_clones',
    'torch.nn.modules.upsampling': 'Upsample',
    'torch.nn.modules.utils': '_ntuple _pair _triple',
    'torch.nn.parallel': 'DataParallel',
    'torch.nn.parameter': 'Buffer Parameter',
    'torch.nn.utils': 'clip_grad_norm_ spectral_norm',
    'torch.nn.utils.clip_grad': 'clip_grad_norm_',
    'torch.nn.utils.convert_parameters': 'parameters_to_vector',
    'torch.nn.utils.init': 'skip_init',
    'torch.nn.utils.rnn': 'PackedSequence pack_padded_sequence pad_packed_sequence pad_sequence',
    'torch.nn.utils.stateless': 'functional_call',
    'torch.optim': 'Adadelta Adam AdamW Optimizer RMSprop SGD lr_scheduler',
    'torch.optim.adam': 'Adam',
    'torch.optim.adamw': 'AdamW',
    'torch.optim.lbfgs': 'LBFGS',
    'torch.optim.lr_scheduler': 'CosineAnnealingLR ExponentialLR LRScheduler ReduceLROnPlateau _LRScheduler',
    'torch.optim.optimizer': 'Optimizer ParamsT required',
    'torch.optim.rmsprop': 'RMSprop',
    'torch.optim.sgd': 'SGD',
    'torch.optim.swa_utils': 'AveragedModel',
    'torch.overrides': '''
        DisableTorchFunctionSubclass handle_torch_function has_torch_function has_torch_function_unary
        has_torch_function_variadic is_tensor_like is_tensor_method_or_property wrap_torch_function''',
    'torch.random': 'fork_rng get_rng_state manual_seed',
    'torch.return_types': 'max sort topk',
    'torch.serialization': 'add_safe_globals clear_safe_globals get_safe_globals load safe_globals save',
    'torch.signal.windows': 'hann',
    'torch.special': 'expm1 logit',
    'torch.storage': 'UntypedStorage',
    'torch.testing': 'assert_allclose assert_close make_tensor',
    'torch.types': 'Device FileLike Number _size',
    'torch.utils': 'data',
    'torch.utils._pytree': 'tree_flatten tree_leaves tree_map tree_map_only tree_unflatten',
    'torch.utils.checkpoint': 'checkpoint checkpoint_sequential',
    'torch.utils.data': '''
        BatchSampler ChainDataset ConcatDataset DataLoader Dataset DistributedSampler IterableDataset
        RandomSampler Sampler SequentialSampler StackDataset Subset SubsetRandomSampler TensorDataset
        WeightedRandomSampler default_convert get_worker_info random_split''',
    'torch.utils.data._utils.collate': 'default_collate',
    'torch.utils.data._utils.worker': 'WorkerInfo',
    'torch.utils.data.dataloader': 'DataLoader default_collate',
    'torch.utils.data.dataset': 'Dataset random_split',
    'torch.utils.data.distributed': 'DistributedSampler',
    'torch.utils.data.sampler': 'Sampler',
    'torch.utils.dlpack': 'from_dlpack to_dlpack',
    'torch.utils.hooks': 'RemovableHandle',
    'torch.version': '__version__ cuda git_version hip',
}
METHODS = """
    H abs abs_ absolute add add_ addcdiv addcdiv_ addcmul addcmul_ all allclose amax amin any argmax argsort
    as_strided atan backward bernoulli_ bitwise_xor_ bmm bool byte ceil chunk clamp clamp_ clamp_min clip clone
    conj contiguous copy_ copysign cos cov cpu cuda cumsum data detach detach_ diag diagonal dim dist div div_
    double dtype element_size eq equal erf erfinv_ exp expand expand_as expm1 fill_ fix flatten flip float floor
    gather gcd ge_ get_device grad gt index_add index_add_ index_select int is_contiguous is_floating_point
    isfinite item lerp lerp_ log log10 log2 logsumexp long masked_fill masked_fill_ masked_select matmul max
    maximum mean median min mm mode movedim mul mul_ mv ndimension ne neg nelement new new_empty new_full
    new_ones new_tensor new_zeros nonzero norm normal_ numel numpy permute pin_memory pinverse pow pow_ prod put
    random_ register_hook relu repeat repeat_interleave requires_grad_ reshape reshape_as resize_as_ round rsqrt
    rsqrt_ scatter scatter_ scatter_add_ select shape sigmoid sigmoid_ sign sign_ sin size softmax sort split
    sqrt sqrt_ square squeeze std stride sub sub_ sum t tanh tanh_ tile to tolist topk trace transpose
    transpose_ triu triu_ type type_as unbind unfold uniform_ unique unsqueeze var view view_as where zero_
""".split()


def owner_of(path):
    """The module or class that a path of PyTorch's names."""
    try:
        return importlib.import_module(path.replace('torch', 'flambeau', 1))
    except ModuleNotFoundError:
        owner, _, name = path.rpartition('.')
        return getattr(owner_of(owner), name)


@pytest.mark.parametrize('path', NAMES)
def test_names_are_where_programs_look(path):
    owner = owner_of(path)
    assert [name for name in NAMES[path].split() if not hasattr(owner, name)] == []


@pytest.mark.parametrize('path', [path for path in NAMES if path[-1].islower() and '_Size' not in path])
def test_names_are_importable(path):
    try:
        importlib.import_module(path.replace('torch', 'flambeau', 1))
    except ModuleNotFoundError:
        pytest.skip('a class or an object')
    exec(f"from {path.replace('torch', 'flambeau', 1)} import {', '.join(NAMES[path].split())}")


def test_methods():
    assert [name for name in METHODS if not hasattr(torch.Tensor, name)] == []


def test_unknown_names_are_attribute_errors():
    for module in (torch, torch.nn, torch.optim, torch.utils, torch.backends, torch.nn.functional):
        with pytest.raises(AttributeError, match='no_such_name'):
            module.no_such_name
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module('flambeau.no_such_name')


# ---- settings

def test_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    assert torch.get_num_threads() == 1
    for wrong in (0, -1, 'a', True, 1.5):
        with pytest.raises(RuntimeError, match='set_num_threads expects'):
            torch.set_num_threads(wrong)
    assert torch.get_num_threads() == 1
    torch.set_num_threads(before)


def test_determinism_and_precision():
    torch.use_deterministic_algorithms(True, warn_only=True)
    assert torch.are_deterministic_algorithms_enabled() and torch.get_deterministic_debug_mode() == 1
    torch.set_deterministic_debug_mode('error')
    assert not torch.is_deterministic_algorithms_warn_only_enabled() and torch.get_deterministic_debug_mode() == 2
    torch.use_deterministic_algorithms(False)
    assert torch.get_deterministic_debug_mode() == 0
    torch.set_float32_matmul_precision('high')
    with pytest.raises(RuntimeError, match="'highest', 'high', 'medium'"):
        torch.set_float32_matmul_precision('low')
    assert torch.get_float32_matmul_precision() == 'high'
    torch.set_float32_matmul_precision('highest')


def test_default_device():
    torch.set_default_device('cpu')
    assert torch.get_default_device() == torch.device('cpu')
    with pytest.raises(RuntimeError, match='foo'):
        torch.set_default_device('foo')


# ---- scripting, compiling, mixed precision: not at work, and honest about it

def test_marks_of_script_and_compiler_leave_functions_alone():
    def function(x):
        return x
    assert not (torch.jit.is_scripting() or torch.jit.is_tracing() or torch.compiler.is_compiling())
    for mark in (torch.jit.ignore, torch.jit.ignore(drop=True), torch.jit.unused, torch.jit.export,
                 torch.compiler.disable, torch.compiler.disable(recursive=False)):
        assert mark(function) is function
    assert torch.jit.isinstance([1, 2], list[int]) and not torch.jit.isinstance([1, 'a'], list[int])
    assert torch.jit.isinstance({'a': None}, dict[str, int | None])


def test_autocast_that_is_off_changes_nothing():
    with torch.autocast('cpu', enabled=False), pytest.warns(UserWarning, match='CUDA is not available'), \
            torch.amp.autocast('cuda'):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32
    assert torch.autocast('cuda', enabled=False)(lambda x: x)(3) == 3


def test_training_with_a_scaler_that_is_off():
    weight = torch.ones(2, requires_grad=True)
    optimizer = torch.optim.SGD([weight], lr=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        scaler = torch.amp.GradScaler('cuda')
    scaler.scale(weight.sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()
    assert weight.tolist() == [0.5, 0.5] and not scaler.is_enabled()


# ---- trees, overriding, processes

Pair = collections.namedtuple('Pair', 'first second')


def test_trees():
    tree = {'b': [1, (2, 3)], 'a': Pair(4, collections.OrderedDict(z=5)), 'd': collections.defaultdict(list, k=None)}
    leaves, spec = torch.utils._pytree.tree_flatten(tree)
    assert leaves == [1, 2, 3, 4, 5, None] and spec.num_leaves == 6
    assert torch.utils._pytree.tree_unflatten(leaves, spec) == tree
    doubled = torch.utils._pytree.tree_map_only(int, lambda x: 2 * x, tree)
    assert doubled['a'] == Pair(8, {'z': 10}) and type(doubled['a']) is Pair
    assert torch.utils._pytree.tree_map(lambda x, y: x + y, (1, [2]), (3, [4])) == (4, [6])
    with pytest.raises(ValueError, match='6 leaves, but 1'):
        torch.utils._pytree.tree_unflatten([1], spec)


def test_overrides_of_a_librarys_own_function():
    from flambeau.overrides import handle_torch_function, has_torch_function, is_tensor_like

    class Answering(torch.Tensor):
        @classmethod
        def __torch_function__(cls, function, types, args=(), kwargs=None):
            return function.__name__, kwargs

    def scaled(x, factor=1):
        if has_torch_function((x,)):
            return handle_torch_function(scaled, (x,), x, factor=factor)
        return x * factor
    assert scaled(torch.ones(2).as_subclass(Answering), 3) == ('scaled', {'factor': 3})
    assert scaled(2, 3) == 6 and not is_tensor_like(3)


def test_flat_gradients():
    from flambeau._utils import _flatten_dense_tensors, _unflatten_dense_tensors
    tensors = [torch.ones(2), torch.zeros(1, 2)]
    flat = _flatten_dense_tensors(tensors)
    assert flat.tolist() == [1, 1, 0, 0]
    assert [t.tolist() for t in _unflatten_dense_tensors(flat, tensors)] == [t.tolist() for t in tensors]


def test_data_parallel_on_one_device():
    inner = torch.nn.Linear(2, 1)
    model = torch.nn.DataParallel(inner)
    x = torch.ones(3, 2)
    assert torch.equal(model(x), inner(x)) and list(model.state_dict()) == ['module.weight', 'module.bias']


SPAWNING = """
import flambeau.multiprocessing as mp
def work(number, queue):
    queue.put((number, sum(range(number + 1))))
def fail(number):
    raise KeyError('from process %d' % number)
if __name__ == '__main__':
    queue = mp.get_context('spawn').SimpleQueue()
    mp.spawn(work, (queue,), nprocs=1)
    print(queue.get())
    try:
        mp.spawn(fail, nprocs=1)
    except mp.ProcessRaisedException as error:
        print('from process 0' in str(error), 'Traceback' in str(error))
"""


def test_spawn(tmp_path):
    script = tmp_path / 'spawning.py'
    script.write_text(SPAWNING)
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, cwd=tmp_path,
                          env={'PYTHONPATH': torch.__path__[0].rpartition('flambeau')[0], 'PATH': ''})
    assert done.stdout == '(0, 0)\nTrue True\n', done.stderr
    assert set(multiprocessing.__all__) <= set(torch.multiprocessing.__all__)
