"""Interpolation, padding, sampling and rearranging against their definitions and against PyTorch."""
import warnings

import numpy as np
import pytest
from against_torch import agree, arrays

import flambeau
import flambeau.nn.functional as F
from flambeau import nn
from flambeau.autograd import gradcheck, gradgradcheck
from flambeau.ops.axis_map import AxisMap

INTERPOLATIONS = [
    ((2, 3, 7), {'size': 12}), ((2, 3, 7), {'size': 3, 'mode': 'nearest-exact'}),
    ((2, 3, 7), {'scale_factor': 2.3, 'mode': 'linear'}),
    ((1, 2, 5, 8), {'scale_factor': 2}), ((1, 2, 5, 8), {'scale_factor': (0.6, 1.5), 'mode': 'bilinear'}),
    ((1, 2, 5, 8), {'scale_factor': 1.7, 'mode': 'bilinear', 'recompute_scale_factor': True}),
    ((2, 2, 5, 8), {'size': (9, 3), 'mode': 'bilinear', 'align_corners': True}),
    ((2, 2, 5, 8), {'size': (9, 3), 'mode': 'bicubic'}), ((1, 1, 1, 4), {'size': (3, 1), 'mode': 'bicubic'}),
    ((2, 2, 5, 8), {'size': (7, 5), 'mode': 'bicubic', 'align_corners': True}),
    ((2, 2, 12, 8), {'size': (5, 3), 'mode': 'bilinear', 'antialias': True}),
    ((2, 2, 12, 8), {'size': (5, 13), 'mode': 'bicubic', 'antialias': True}),
    ((1, 2, 5, 8), {'size': (3, 4), 'mode': 'area'}), ((1, 2, 5, 8), {'size': (5, 8), 'mode': 'bilinear'}),
    ((1, 2, 3, 4, 5), {'scale_factor': (2, 1, 0.5), 'mode': 'trilinear'}), ((1, 2, 3, 4, 5), {'size': (5, 2, 9)}),
]


@pytest.mark.parametrize('shape, arguments', INTERPOLATIONS, ids=str)
def test_interpolation_agrees_with_torch(shape, arguments):
    agree('interpolate', *arrays(0, shape), **arguments)


@pytest.mark.parametrize('mode, ramp_stays', [('linear', True), ('nearest', False)])
def test_ramp(mode, ramp_stays):
    """Aligned linear interpolation of a ramp is the finer ramp; the nearest elements are elements."""
    x = flambeau.arange(5.).reshape(1, 1, 5)
    y = F.interpolate(x, size=9, mode=mode, align_corners=True if ramp_stays else None)[0, 0].tolist()
    assert y == ([0, .5, 1, 1.5, 2, 2.5, 3, 3.5, 4] if ramp_stays else [0, 0, 1, 1, 2, 2, 3, 3, 4])


@pytest.mark.parametrize('mode', ['bilinear', 'bicubic', 'area', 'nearest'])
@pytest.mark.parametrize('size', [(3, 17), (11, 2)])
def test_constant_images_stay(mode, size):
    y = F.interpolate(flambeau.full((1, 1, 6, 7), 2.5), size=size, mode=mode)
    np.testing.assert_allclose(y.numpy(), 2.5, rtol=1e-6)


def test_bytes_are_rounded():
    x = flambeau.tensor([[[[0, 1], [254, 255]]]], dtype=flambeau.uint8)
    assert F.interpolate(x, size=(2, 4), mode='bilinear')[0, 0].tolist() == [[0, 0, 1, 1], [254, 254, 255, 255]]
    assert F.interpolate(x, size=(4, 2))[0, 0, :, 1].tolist() == [1, 1, 255, 255]


@pytest.mark.parametrize('rows, columns', [(5, 7), (7, 5), (2, 30), (30, 2), (4, 4)])
@pytest.mark.parametrize('axis', [0, 1, 2])
def test_axis_map_is_its_matrix(rows, columns, axis):
    draw = np.random.default_rng(rows)
    row, column = draw.integers(rows, size=40), draw.integers(columns, size=40)
    weight = draw.standard_normal(40)
    dense = np.zeros((rows, columns))
    np.add.at(dense, (row, column), weight)
    table = AxisMap(rows, columns, row, column, weight)
    shape = [3, 4, 5]
    for matrix, applied in ((dense, table), (dense.T, table.transpose)):
        shape[axis] = matrix.shape[1]
        x = draw.standard_normal(shape)
        expected = np.moveaxis(np.tensordot(matrix, x, (1, axis)), 0, axis)
        np.testing.assert_allclose(applied(x, axis), expected, rtol=1e-10, atol=1e-12)


def test_axis_map_leaves_infinity_where_it_is():
    y = F.interpolate(flambeau.tensor([[[0., 1, float('inf'), 3, 4, 5, 6, 7]]]), size=7, mode='area')[0, 0]
    assert y.isfinite().tolist() == [True, False, False, True, True, True, True]


MODES = {'reflect': 'reflect', 'replicate': 'edge', 'circular': 'wrap', 'constant': 'constant'}


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('shape, pad', [((2, 3, 5), (2, 1)), ((1, 2, 4, 5), (1, 3, 2, 0)), ((2, 4, 5), (4, 0, 0, 3)),
                                        ((1, 2, 3, 4, 5), (1, 1, 2, 0, 0, 2))])
def test_padding_is_numpys(mode, shape, pad):
    x, = arrays(1, shape)
    pairs = [(0, 0)] * (len(shape) - len(pad) // 2) + list(zip(pad[::2], pad[1::2]))[::-1]
    np.testing.assert_array_equal(F.pad(flambeau.tensor(x), pad, mode).numpy(), np.pad(x, pairs, MODES[mode]))


@pytest.mark.parametrize('mode', MODES)
@pytest.mark.parametrize('shape, pad', [((2, 3, 5), (2, 1)), ((1, 2, 4, 5), (1, -3, 2, 0)), ((2, 4, 5), (-1, 2, 0, 3)),
                                        ((1, 2, 3, 4, 5), (1, 1, 2, 0, -1, 2)), ((2, 3, 5), (0, 0))])
def test_padding_agrees_with_torch(mode, shape, pad):
    agree('pad', *arrays(2, shape), pad=pad, mode=mode, value=1.5 if mode == 'constant' else None)


def test_padding_copies():
    x = flambeau.zeros(1, 2, 3)
    for y in (F.pad(x, (0, 0)), F.pad(x, (0, 0), 'reflect'), F.interpolate(x, size=3)):
        y += 1
    assert not x.any()


def test_constant_padding_of_any_rank_and_dtype():
    assert F.pad(flambeau.tensor([1, 2, 3]), (1, -1), value=7).tolist() == [7, 1, 2]
    assert F.pad(flambeau.tensor([True]), (0, 1)).tolist() == [True, False]


@pytest.mark.parametrize('mode', ['bilinear', 'nearest', 'bicubic'])
@pytest.mark.parametrize('padding_mode', ['zeros', 'border', 'reflection'])
@pytest.mark.parametrize('align_corners', [True, False])
def test_grid_sample_agrees_with_torch(mode, padding_mode, align_corners):
    x, grid, volume, directions = arrays(3, (2, 3, 5, 6), (2, 4, 3, 2), (2, 2, 3, 4, 5), (2, 2, 3, 2, 3))
    agree('grid_sample', x, grid, mode=mode, padding_mode=padding_mode, align_corners=align_corners)
    if mode != 'bicubic':
        agree('grid_sample', volume, directions, mode=mode, padding_mode=padding_mode, align_corners=align_corners)


@pytest.mark.parametrize('align_corners', [True, False])
@pytest.mark.parametrize('mode', ['bilinear', 'nearest', 'bicubic'])
def test_sampling_the_identity_grid_changes_nothing(align_corners, mode):
    x = flambeau.tensor(arrays(4, (2, 3, 5, 4))[0])
    identity = flambeau.eye(3, dtype=flambeau.float64)[:2].expand(2, 2, 3)
    grid = F.affine_grid(identity, (2, 3, 5, 4), align_corners)
    np.testing.assert_allclose(F.grid_sample(x, grid, mode, align_corners=align_corners).numpy(), x.numpy(), atol=1e-12)


@pytest.mark.parametrize('align_corners', [True, False])
def test_affine_grid_agrees_with_torch(align_corners):
    agree('affine_grid', *arrays(5, (2, 2, 3)), size=(2, 1, 4, 3), align_corners=align_corners)
    agree('affine_grid', *arrays(5, (2, 3, 4)), size=(2, 1, 2, 3, 4), align_corners=align_corners)


def test_fold_counts_the_windows_of_every_element():
    ones = flambeau.ones(1, 2, 4, 5)
    counts = F.fold(F.unfold(ones, (2, 3)), (4, 5), (2, 3))
    assert counts[0, 1].tolist() == [[1, 2, 3, 2, 1], [2, 4, 6, 4, 2], [2, 4, 6, 4, 2], [1, 2, 3, 2, 1]]


def test_convolution_is_a_product_of_columns():
    x, w = map(flambeau.tensor, arrays(6, (2, 3, 6, 5), (4, 3, 3, 2)))
    columns = F.unfold(x, (3, 2), padding=1, stride=(2, 1))
    expected = F.conv2d(x, w, padding=1, stride=(2, 1))
    product = (w.reshape(4, -1) @ columns).reshape(expected.shape)
    np.testing.assert_allclose(product.numpy(), expected.numpy(), atol=1e-10)


@pytest.mark.parametrize('name, shape, arguments', [
    ('unfold', (2, 3, 6, 5), {'kernel_size': (2, 3), 'dilation': 2, 'padding': 1, 'stride': (1, 2)}),
    ('unfold', (3, 6, 5), {'kernel_size': 2}),
    ('fold', (2, 12, 6), {'output_size': (5, 4), 'kernel_size': (3, 2), 'stride': (2, 1)}),
    ('fold', (8, 9), {'output_size': 4, 'kernel_size': 2}),
    ('pixel_shuffle', (2, 8, 3, 2), {'upscale_factor': 2}), ('pixel_shuffle', (9, 2, 3), {'upscale_factor': 3}),
    ('pixel_unshuffle', (2, 3, 4, 6), {'downscale_factor': 2}),
    ('channel_shuffle', (2, 6, 3, 2), {'groups': 3}),
])
def test_rearranging_agrees_with_torch(name, shape, arguments):
    agree(name, *arrays(7, shape), **arguments)


def test_pixel_shuffle_and_back():
    x = flambeau.arange(2 * 8 * 3 * 2).reshape(2, 8, 3, 2)
    y = F.pixel_shuffle(x, 2)
    assert y[0, 0, :2, :2].tolist() == [[x[0, 0, 0, 0], x[0, 1, 0, 0]], [x[0, 2, 0, 0], x[0, 3, 0, 0]]]
    assert F.pixel_unshuffle(y, 2).equal(x)


@pytest.mark.parametrize('function', [
    lambda x: F.interpolate(x, size=(5, 7), mode='bicubic'), lambda x: F.interpolate(x, scale_factor=0.5),
    lambda x: F.pad(x, (2, 1, 1, 2), 'reflect'), lambda x: F.pad(x, (2, -1, 1, 0), value=3.),
    lambda x: F.unfold(x, 2, padding=1), lambda x: F.fold(F.unfold(x, 2), (4, 5), 2), lambda x: F.pixel_shuffle(x, 2),
])
def test_derivatives(function):
    x = flambeau.tensor(arrays(8, (1, 4, 4, 5))[0], requires_grad=True)
    assert gradcheck(function, (x,))
    assert gradgradcheck(function, (x,))


def test_derivatives_of_sampling():
    x, grid = (flambeau.tensor(a, requires_grad=True) for a in arrays(9, (1, 2, 4, 5), (1, 3, 2, 2)))
    assert gradcheck(lambda x, grid: F.grid_sample(x, grid, padding_mode='border', align_corners=True), (x, grid))


X = flambeau.zeros(1, 2, 5, 5)
REFUSED = [
    (lambda: F.interpolate(X), ValueError, 'either size or scale_factor'),
    (lambda: F.interpolate(X, 3, 2), ValueError, 'only one of'),
    (lambda: F.interpolate(X, (3, 3, 3)), ValueError, 'same number of spatial dimensions'),
    (lambda: F.interpolate(X, 2.5), TypeError, 'expected size'),
    (lambda: F.interpolate(X, 3, mode='linear'), NotImplementedError, 'linear'),
    (lambda: F.interpolate(X, 3, align_corners=True), ValueError, 'align_corners'),
    (lambda: F.interpolate(X, 3, antialias=True), ValueError, 'Anti-alias'),
    (lambda: F.interpolate(X, 3, mode='bilinear', recompute_scale_factor=True), ValueError, 'recompute_scale_factor'),
    (lambda: F.interpolate(X, 0), RuntimeError, 'greater than 0'),
    (lambda: F.interpolate(X.long(), 3, mode='bilinear'), NotImplementedError, 'int64'),
    (lambda: F.pad(X, (1,)), RuntimeError, 'divisible by 2'),
    (lambda: F.pad(X, (1,) * 10), RuntimeError, 'two times the input dimension'),
    (lambda: F.pad(X, (1.5, 0)), TypeError, 'tuple of ints'),
    (lambda: F.pad(X, (-6, 0)), RuntimeError, 'negative'),
    (lambda: F.pad(X, (5, 1, 1, 1), 'reflect'), RuntimeError, r'padding \(5, 1\) at dimension 3'),
    (lambda: F.pad(X, (6, 1, 1, 1), 'circular'), RuntimeError, 'at most 5'),
    (lambda: F.pad(X, (1, 1), 'reflect'), NotImplementedError, '4D input'),
    (lambda: F.pad(X, (1, 1, 1, 1), 'reflect', 1), RuntimeError, 'value'),
    (lambda: F.pad(X, (1, 1), 'mirror'), NotImplementedError, 'mirror'),
    (lambda: F.grid_sample(X, flambeau.zeros(1, 2, 2, 3)), RuntimeError, 'grid_sampler'),
    (lambda: F.grid_sample(X, flambeau.zeros(1, 2, 2, 2), 'linear'), ValueError, 'expected mode'),
    (lambda: F.grid_sample(X, flambeau.zeros(1, 2, 2, 2).double()), RuntimeError, 'same dtype'),
    (lambda: F.affine_grid(flambeau.zeros(1, 2, 2), (1, 1, 2, 2), True), ValueError, 'Nx2x3'),
    (lambda: F.affine_grid(flambeau.zeros(1, 2, 3), (1, 2), True), NotImplementedError, '4D and 5D'),
    (lambda: F.unfold(X, 9), RuntimeError, 'at least one'),
    (lambda: F.fold(flambeau.zeros(1, 7, 9), 4, 2), RuntimeError, 'divisible by the product'),
    (lambda: F.fold(flambeau.zeros(1, 8, 8), 4, 2), RuntimeError, '3 \\* 3 = 9'),
    (lambda: F.pixel_shuffle(X, 2), RuntimeError, 'not divisible by 4'),
    (lambda: F.pixel_unshuffle(X, 2), RuntimeError, 'not divisible by 2'),
    (lambda: F.channel_shuffle(X, 3), RuntimeError, 'divisible by groups'),
    (lambda: nn.CircularPad2d(1)(flambeau.zeros(5, 5)), ValueError, '3D or 4D'),
]


@pytest.mark.parametrize('call, error, text', REFUSED)
def test_refused(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_older_names_warn():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        y = F.upsample_bilinear(X, scale_factor=2)
        F.grid_sample(X, flambeau.zeros(1, 2, 2, 2))
    assert y.shape == (1, 2, 10, 10)
    assert ['interpolate' in str(w.message) for w in caught] == [True, False]
    assert 'align_corners=False' in str(caught[1].message)


LAYERS = {
    'Upsample(scale_factor=2)': ('Upsample(scale_factor=2.0, mode=\'nearest\')', (1, 4, 12, 12)),
    "Upsample((3, 4), mode='bilinear')": ("Upsample(size=(3, 4), mode='bilinear')", (1, 4, 3, 4)),
    'UpsamplingBilinear2d(3)': ("UpsamplingBilinear2d(size=3, mode='bilinear')", (1, 4, 3, 3)),
    'UpsamplingNearest2d(scale_factor=2)': ("UpsamplingNearest2d(scale_factor=2.0, mode='nearest')", (1, 4, 12, 12)),
    'PixelShuffle(2)': ('PixelShuffle(upscale_factor=2)', (1, 1, 12, 12)),
    'PixelUnshuffle(2)': ('PixelUnshuffle(downscale_factor=2)', (1, 16, 3, 3)),
    'ChannelShuffle(2)': ('ChannelShuffle(groups=2)', (1, 4, 6, 6)),
    'Unfold(2)': ('Unfold(kernel_size=2, dilation=1, padding=0, stride=1)', (1, 16, 25)),
    'ZeroPad2d(1)': ('ZeroPad2d((1, 1, 1, 1))', (1, 4, 8, 8)),
    'ConstantPad2d((1, 0, 2, 0), 3.5)': ('ConstantPad2d(padding=(1, 0, 2, 0), value=3.5)', (1, 4, 8, 7)),
    'ConstantPad1d(1, 0)': ('ConstantPad1d(padding=(1, 1), value=0)', (1, 4, 6, 8)),
    'ReflectionPad2d(2)': ('ReflectionPad2d((2, 2, 2, 2))', (1, 4, 10, 10)),
    'ReplicationPad2d((1, 2, 3, 4))': ('ReplicationPad2d((1, 2, 3, 4))', (1, 4, 13, 9)),
    'CircularPad2d(1)': ('CircularPad2d((1, 1, 1, 1))', (1, 4, 8, 8)),
}


@pytest.mark.parametrize('layer', LAYERS)
def test_layers(layer):
    text, shape = LAYERS[layer]
    module = eval('nn.' + layer)
    assert repr(module) == text
    assert module(flambeau.zeros(1, 4, 6, 6)).shape == shape


def test_fold_layers():
    x = flambeau.tensor(arrays(10, (1, 2, 4, 4))[0])
    fold = nn.Fold((4, 4), 2, stride=2)
    assert repr(fold) == 'Fold(output_size=(4, 4), kernel_size=2, dilation=1, padding=0, stride=2)'
    assert fold(nn.Unfold(2, stride=2)(x)).equal(x)
