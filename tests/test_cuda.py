"""What scripts ask of torch.cuda and torch.backends on a machine that computes on the CPU."""
from __future__ import annotations

import pytest

import flambeau as torch


def test_the_usual_snippet_takes_its_cpu_branch():
    device = torch.device('cuda' if torch.cuda.is_available() else 'cpu')
    assert torch.ones(2, device=device).device == torch.device('cpu')
    assert torch.cuda.device_count() == 0


@pytest.mark.parametrize('call', [
    lambda: torch.cuda.manual_seed(0), lambda: torch.cuda.manual_seed_all(0), torch.cuda.seed_all,
    torch.cuda.empty_cache, torch.cuda.reset_peak_memory_stats, lambda: torch.cuda.set_rng_state_all([])])
def test_what_has_nothing_to_do_is_accepted(call):
    state = torch.get_rng_state()
    assert call() is None
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize('name', ['memory_allocated', 'max_memory_allocated', 'memory_reserved', 'max_memory_reserved'])
def test_no_device_memory_is_used(name):
    assert getattr(torch.cuda, name)() == 0


@pytest.mark.parametrize('call', [
    lambda: torch.cuda.current_device(), lambda: torch.cuda.synchronize(), lambda: torch.cuda.get_device_name(0),
    lambda: torch.cuda.set_rng_state_all([torch.get_rng_state()]), lambda: torch.cuda.device(0).__enter__(),
    lambda: torch.ones(2).cuda(), lambda: torch.ones(2, device='cuda')])
def test_what_needs_a_device_says_what_to_do(call):
    with pytest.raises(AssertionError, match='Torch not compiled with CUDA enabled.*is_available'):
        call()


def test_streams_need_a_device():
    for kind in (torch.cuda.Stream, torch.cuda.Event):
        with pytest.raises(RuntimeError, match=kind.__name__):
            kind()


def test_contexts_that_select_no_device():
    with torch.cuda.device(None), torch.cuda.device(-1), torch.cuda.device_of(torch.ones(1)):
        pass
    with pytest.raises(ValueError, match='Expected a cuda device'):
        torch.cuda.device('cpu')


def test_seeds_are_integers():
    with pytest.raises(ValueError):
        torch.cuda.manual_seed('zero')


def test_switches_keep_their_value_and_type():
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    for owner, name in ((cudnn, 'benchmark'), (cudnn, 'deterministic'), (matmul, 'allow_tf32')):
        before = getattr(owner, name)
        setattr(owner, name, not before)
        assert getattr(owner, name) is not before
        with pytest.raises(RuntimeError, match=f'{name} expects a bool, but got int'):
            setattr(owner, name, 1)
        setattr(owner, name, before)
    with pytest.raises(AttributeError, match='Unknown attribute allow_tf33'):
        matmul.allow_tf33 = True


def test_flags_are_settings_for_a_while():
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=False, benchmark=True):
        assert (cudnn.enabled, cudnn.benchmark, cudnn.benchmark_limit) == (False, True, 10)
    assert (cudnn.enabled, cudnn.benchmark, cudnn.benchmark_limit) == (True, False, None)
    with pytest.raises(RuntimeError, match='deterministic'):
        with cudnn.flags(benchmark=True, deterministic='yes'):
            pass
    assert cudnn.benchmark is False


def test_attention_switches():
    cuda = torch.backends.cuda
    cuda.enable_flash_sdp(False)
    assert not cuda.flash_sdp_enabled() and cuda.math_sdp_enabled()
    cuda.enable_flash_sdp(True)
    assert cuda.flash_sdp_enabled()


@pytest.mark.parametrize('name', ['cudnn', 'mps', 'mkl', 'mkldnn', 'openmp'])
def test_libraries_that_are_absent(name):
    assert getattr(torch.backends, name).is_available() is False
