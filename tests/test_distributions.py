"""Distributions: values known on paper, and all that PyTorch answers, samples included, held against it."""
import math
import warnings

import pytest

import flambeau as torch
from flambeau import distributions as D

PAIRS = [[1., 2., 3.], [3., 0.5, 1.]]

FAMILIES = {
    'Normal': lambda d, a: d.Normal(a([0., 1.]), a([1., 0.5])),
    'Uniform': lambda d, a: d.Uniform(a([0., 1.]), a([2., 1.5])),
    'Laplace': lambda d, a: d.Laplace(a([0., 1.]), a([1., 0.5])),
    'Cauchy': lambda d, a: d.Cauchy(a([0., 1.]), a([1., 0.5])),
    'Exponential': lambda d, a: d.Exponential(a([1., 0.5])),
    'Gamma': lambda d, a: d.Gamma(a([0.7, 2.5]), a([1., 0.5])),
    'Chi2': lambda d, a: d.Chi2(a([1.5, 4.])),
    'Beta': lambda d, a: d.Beta(a([0.8, 3.]), a([1.5, 2.])),
    'Dirichlet': lambda d, a: d.Dirichlet(a([[0.7, 1.5, 2.], [3., 2., 1.]])),
    'StudentT': lambda d, a: d.StudentT(a([3., 1.5]), a([0., 1.]), 2.),
    'Bernoulli': lambda d, a: d.Bernoulli(a([0.3, 0.8])),
    'Bernoulli by logits': lambda d, a: d.Bernoulli(logits=a([-0.3, 0.8])),
    'Geometric': lambda d, a: d.Geometric(a([0.3, 0.8])),
    'Binomial': lambda d, a: d.Binomial(5, a([0.3, 0.8])),
    'NegativeBinomial': lambda d, a: d.NegativeBinomial(a([5., 3.]), a([0.3, 0.6])),
    'Poisson': lambda d, a: d.Poisson(a([3., 0.5])),
    'Categorical': lambda d, a: d.Categorical(a(PAIRS)),
    'Categorical by logits': lambda d, a: d.Categorical(logits=a(PAIRS)),
    'OneHotCategorical': lambda d, a: d.OneHotCategorical(a(PAIRS)),
    'OneHotCategoricalStraightThrough': lambda d, a: d.OneHotCategoricalStraightThrough(a(PAIRS)),
    'Multinomial': lambda d, a: d.Multinomial(7, a(PAIRS)),
    'MultivariateNormal': lambda d, a: d.MultivariateNormal(a([[0., 1.], [2., 3.]]), a([[2., 0.5], [0.5, 1.]])),
    'MultivariateNormal by precision': lambda d, a: d.MultivariateNormal(
        a([0., 1.]), precision_matrix=a([[2., 0.5], [0.5, 1.]])),
    'MultivariateNormal by factor': lambda d, a: d.MultivariateNormal(a([0., 1.]), scale_tril=a([[2., 0.], [0.5, 1.]])),
    'Independent': lambda d, a: d.Independent(d.Normal(a([[0.] * 3] * 2), a([1.] * 3)), 1),
    'LogNormal': lambda d, a: d.LogNormal(a([0., 1.]), a([1., 0.5])),
    'HalfNormal': lambda d, a: d.HalfNormal(a([1., 0.5])),
    'HalfCauchy': lambda d, a: d.HalfCauchy(a([1., 0.5])),
    'Gumbel': lambda d, a: d.Gumbel(a([0., 1.]), a([1., 0.5])),
    'Weibull': lambda d, a: d.Weibull(a([2., 1.]), a([1.5, 0.5])),
    'Pareto': lambda d, a: d.Pareto(a([2., 1.]), a([1.5, 3.5])),
    'InverseGamma': lambda d, a: d.InverseGamma(a([2.5, 1.]), a([1.5, 0.5])),
    'Kumaraswamy': lambda d, a: d.Kumaraswamy(a([1.5, 3.]), a([2., 1.5])),
    'LogisticNormal': lambda d, a: d.LogisticNormal(a([[0., 1.], [2., 3.]]), a([1., 0.5])),
    'FisherSnedecor': lambda d, a: d.FisherSnedecor(a([1.5, 3.]), a([5., 3.])),
    'LowRankMultivariateNormal': lambda d, a: d.LowRankMultivariateNormal(
        a([0., 1., 2.]), a([[1., 0.], [0.5, 1.], [0., 2.]]), a([1., 2., 0.5])),
    'LogitRelaxedBernoulli': lambda d, a: d.relaxed_bernoulli.LogitRelaxedBernoulli(a(0.7), a([0.3, 0.8])),
    'RelaxedBernoulli': lambda d, a: d.RelaxedBernoulli(a(0.7), a([0.3, 0.8])),
    'RelaxedOneHotCategorical': lambda d, a: d.RelaxedOneHotCategorical(a(0.7), a(PAIRS)),
    'mixture': lambda d, a: d.MixtureSameFamily(d.Categorical(a([1., 2.])), d.Normal(a([0., 3.]), a([1., 0.5]))),
    'mixture of vectors': lambda d, a: d.MixtureSameFamily(
        d.Categorical(a([1., 2.])), d.Independent(d.Normal(a([[0., 1.], [3., 4.]]), 1.), 1)),
    'transformed': lambda d, a: d.TransformedDistribution(
        d.Normal(a([0., 1.]), a([1., 0.5])), [d.AffineTransform(1., -2.), d.SigmoidTransform()]),
    'transformed to a simplex': lambda d, a: d.TransformedDistribution(
        d.Normal(a([[0.] * 3] * 2), a([1.] * 3)), [d.StickBreakingTransform()]),
    'transformed vectors': lambda d, a: d.TransformedDistribution(
        d.Independent(d.Normal(a([0.] * 3), 1.), 1), [d.TanhTransform(cache_size=1)]),
}

ASKED = {
    'batch shape': lambda o, t, x: list(o.batch_shape), 'event shape': lambda o, t, x: list(o.event_shape),
    'sample': lambda o, t, x: o.sample((4,)), 'rsample': lambda o, t, x: o.rsample((4,)),
    'log_prob': lambda o, t, x: o.log_prob(x), 'cdf': lambda o, t, x: o.cdf(x),
    'icdf': lambda o, t, x: o.icdf(t.full(tuple(o.batch_shape), 0.3)), 'mean': lambda o, t, x: o.mean,
    'variance': lambda o, t, x: o.variance, 'stddev': lambda o, t, x: o.stddev, 'mode': lambda o, t, x: o.mode,
    'entropy': lambda o, t, x: o.entropy(), 'perplexity': lambda o, t, x: o.perplexity(),
    'all values': lambda o, t, x: o.enumerate_support(), 'values': lambda o, t, x: o.enumerate_support(False),
    'support': lambda o, t, x: repr(o.support),
    'told': lambda o, t, x: repr(o),
    'expanded': lambda o, t, x: o.expand((3, *o.batch_shape)).log_prob(x[:3]),
    'expanded shape': lambda o, t, x: list(o.expand((3, *o.batch_shape)).batch_shape),
    'expanded samples': lambda o, t, x: o.expand((3, *o.batch_shape)).sample((2,)),
    'kinds': lambda o, t, x: (o.has_rsample, o.has_enumerate_support),
    'divergence': lambda o, t, x: t.distributions.kl_divergence(o, o.expand(o.batch_shape)),
}


def outcome(function):
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            return function()
        except Exception as error:
            return type(error).__name__


def agree(ours, theirs, told, rtol=1e-4):
    reference = pytest.importorskip('torch')
    if isinstance(theirs, reference.Tensor):
        assert isinstance(ours, torch.Tensor) and str(ours.dtype) == str(theirs.dtype), (told, ours, theirs)
        reference.testing.assert_close(reference.from_numpy(ours.detach().numpy().copy()), theirs.detach(), rtol=rtol,
                                       atol=1e-5, equal_nan=True, msg=lambda text: f'{told}: {text}')
    else:
        assert ours == theirs, told


@pytest.mark.parametrize('name', FAMILIES)
def test_families_answer_as_pytorchs(name):
    reference = pytest.importorskip('torch')
    ours, theirs = FAMILIES[name](D, torch.tensor), FAMILIES[name](reference.distributions, reference.tensor)
    reference.manual_seed(3)
    x = theirs.sample((4,))
    for told, ask in ASKED.items():
        if (name, told) == ('Kumaraswamy', 'mode'):
            continue  # nan in PyTorch, whose formula takes the logarithm of a negative number
        torch.manual_seed(7)
        reference.manual_seed(7)
        agree(outcome(lambda: ask(ours, torch, torch.from_numpy(x.numpy().copy()))),
              outcome(lambda: ask(theirs, reference, x)), told)


MOVED = {
    'Normal': ([0., 1.], [1., 2.]), 'Laplace': ([0., 1.], [1., 2.]), 'Gumbel': ([0., 1.], [1., 2.]),
    'Weibull': ([2., 1.], [1., 2.]), 'Gamma': ([0.1, 0.7, 2.5, 30., 500.], [1., 2., 0.5, 1., 2.]),
    'Beta': ([0.3, 0.7, 2.5, 30.], [1., 2., 0.5, 20.]), 'Dirichlet': ([[0.3, 0.7, 2.5], [5., 2., 1.]],),
    'Chi2': ([0.3, 3.],), 'StudentT': ([1.3, 3.], [0., 1.], [1., 2.]), 'InverseGamma': ([1.3, 3.], [1., 2.]),
    'RelaxedBernoulli': (0.5, [0.3, 0.6]), 'RelaxedOneHotCategorical': (0.5, [0.3, 0.6, 0.1]),
    'MultivariateNormal': ([0., 1.], [[2., 0.5], [0.5, 1.]]), 'OneHotCategoricalStraightThrough': ([0.3, 0.6, 0.1],),
}


def gradients(t, name):
    parameters = [t.tensor(p, requires_grad=True) for p in MOVED[name]]
    t.manual_seed(5)
    drawn = getattr(t.distributions, name)(*parameters).rsample((50,))
    (drawn * (t.arange(drawn.numel()).reshape(drawn.shape) % 7)).sum().backward()
    return [p.grad for p in parameters]


@pytest.mark.parametrize('name', MOVED)
def test_gradients_through_samples(name):
    for ours, theirs in zip(gradients(torch, name), gradients(pytest.importorskip('torch'), name)):
        agree(ours, theirs, name, rtol=2e-3)


def test_gradients_through_samples_move_the_mean():
    """The mean of many samples' gradients is the gradient of the mean."""
    a = torch.tensor([0.5, 2., 20.], dtype=torch.float64, requires_grad=True)
    torch.manual_seed(0)
    D.Gamma(a, 2.).rsample((20000,)).mean(0).sum().backward()
    torch.testing.assert_close(a.grad, torch.full((3,), 0.5, dtype=torch.float64), rtol=0.05, atol=0)
    b = torch.tensor([2., 3.], dtype=torch.float64, requires_grad=True)
    D.Dirichlet(b).rsample((20000,))[:, 0].mean().backward()
    torch.testing.assert_close(b.grad, torch.tensor([3 / 25, -2 / 25], dtype=torch.float64), rtol=0.05, atol=0)


CASES = """
d.kl_divergence(d.Normal(0., 1.), d.Normal(a([1., 2.]), 2.))
d.kl_divergence(*[d.MultivariateNormal(a([0., m]), a([[2., .5], [.5, m]])) for m in (1., 3.)])
d.kl_divergence(d.Uniform(0., 1.), d.Uniform(a([-1., .5]), 2.))
d.kl_divergence(d.Uniform(0., 1.), d.Normal(.3, 2.))
d.kl_divergence(d.Beta(2., 1.), d.Beta(.5, 2.))
d.kl_divergence(d.Gamma(2., 1.), d.Gamma(.5, 2.))
d.kl_divergence(d.Dirichlet(a([2., 1.])), d.Dirichlet(a([.5, 2.])))
d.kl_divergence(d.Gumbel(0., 1.), d.Gumbel(1., 2.))
d.kl_divergence(d.Bernoulli(a([0., .3, 1.])), d.Bernoulli(a([.2, 1., .7])))
d.kl_divergence(d.Categorical(a([0., .3, 1.])), d.Categorical(a([.2, 0., .7])))
d.kl_divergence(d.Exponential(2.), d.Exponential(.5))
d.kl_divergence(d.Laplace(0., 2.), d.Laplace(1., .5))
d.kl_divergence(d.Geometric(.2), d.Geometric(.5))
d.kl_divergence(d.Binomial(5, a(.3)), d.Binomial(5, a(.6)))
d.kl_divergence(d.Poisson(2.), d.Poisson(.5))
d.kl_divergence(d.Cauchy(0., 2.), d.Cauchy(1., .5))
d.kl_divergence(d.Independent(d.Normal(a([0.] * 3), 1.), 1), d.Independent(d.Normal(a([1.] * 3), 1.), 1))
d.kl_divergence(d.LogNormal(0., 1.), d.LogNormal(1., 2.))
d.kl_divergence(d.Chi2(2.), d.Gamma(1., 2.))
d.kl_divergence(d.Normal(0., 1.), d.Categorical(a([1., 1.])))
d.Normal(0., -1.)
d.Normal('a', 1.)
d.Normal(0., 1.).log_prob('a')
d.Uniform(0., 1.).log_prob(a(3.))
d.Uniform(2., 1.)
d.Categorical()
d.Categorical(a([1.]), a([1.]))
d.Categorical(a(1.))
d.Categorical(a([-1., 2.]))
d.Categorical(a([1., 1.])).log_prob(a(5))
d.MultivariateNormal(a([0., 0.]))
d.MultivariateNormal(a([0., 0.]), a([[-1., 0.], [0., 1.]]))
d.Normal(a([0.] * 3), 1.).log_prob(a([0.] * 2))
d.Bernoulli(.3).rsample()
d.Bernoulli(1.5)
d.Bernoulli(.5).log_prob(a(.5))
d.Dirichlet(a([1., 1.])).log_prob(a([1., 1.]))
d.Geometric(0.)
d.Independent(d.Normal(0., 1.), 1)
d.TransformedDistribution(d.Normal(0., 1.), 3)
d.MixtureSameFamily(d.Normal(0., 1.), d.Normal(0., 1.))
d.Binomial(a([2., 3.]), .5).enumerate_support()
d.Normal(0., -1., validate_args=False).scale
d.Categorical(a([[1., 1.], [3., 1.]])).log_prob(a([[0], [1]]))
d.biject_to(d.constraints.real)(a([.3, -1.]))
d.biject_to(d.constraints.positive)(a([.3, -1.]))
d.biject_to(d.constraints.simplex)(a([.3, -1.]))
d.transform_to(d.constraints.simplex)(a([.3, -1.]))
d.biject_to(d.constraints.interval(-1., 3.))(a([.3, -1.]))
d.biject_to(d.constraints.greater_than(2.))(a([.3, -1.]))
d.biject_to(d.constraints.less_than(2.))(a([.3, -1.]))
d.transform_to(d.constraints.lower_cholesky)(a([[.3, -1.], [.5, .2]]))
d.biject_to(d.constraints.independent(d.constraints.positive, 1))(a([.3, -1.]))
d.biject_to(d.constraints.boolean)
d.constraints.boolean.check(a([0., 1., .5]))
d.constraints.positive.check(a([0., 1., -1.]))
d.constraints.nonnegative_integer.check(a([0., -1., 1.5]))
d.constraints.simplex.check(a([[.5, .5], [.6, .6]]))
d.constraints.one_hot.check(a([[0., 1.], [1., 1.]]))
d.constraints.lower_cholesky.check(a([[[1., 0.], [2., 1.]], [[1., 1.], [0., 1.]]]))
d.constraints.positive_definite.check(a([[[1., 0.], [0., 1.]], [[1., .2], [.2, -1.]]]))
d.constraints.real_vector.check(a([1., 2.]))
d.constraints.dependent.check(a(1.))
"""


@pytest.mark.parametrize('code', CASES.strip().splitlines())
def test_cases_are_pytorchs(code):
    reference = pytest.importorskip('torch')
    ours, theirs = (outcome(lambda: eval(code, {'d': t.distributions, 'a': t.tensor})) for t in (torch, reference))
    agree(ours, theirs, code)


TRANSFORMS = {
    'Exp': lambda d, a: d.ExpTransform(), 'Sigmoid': lambda d, a: d.SigmoidTransform(),
    'Tanh': lambda d, a: d.TanhTransform(), 'Softplus': lambda d, a: d.SoftplusTransform(),
    'Affine': lambda d, a: d.AffineTransform(1., -2.), 'Abs': lambda d, a: d.AbsTransform(),
    'Affine of vectors': lambda d, a: d.AffineTransform(a([1., 2., 3.]), a([1., -2., 3.]), event_dim=1),
    'Power': lambda d, a: d.ComposeTransform([d.ExpTransform(), d.PowerTransform(2.)]),
    'Softmax': lambda d, a: d.SoftmaxTransform(), 'StickBreaking': lambda d, a: d.StickBreakingTransform(),
    'Independent': lambda d, a: d.IndependentTransform(d.ExpTransform(), 1),
    'Reshape': lambda d, a: d.ReshapeTransform((3,), (3, 1)),
    'there and back': lambda d, a: d.ComposeTransform([d.ExpTransform(), d.ExpTransform().inv]),
    'composed': lambda d, a: d.ComposeTransform([d.AffineTransform(0., 2.), d.StickBreakingTransform()]),
    'identity': lambda d, a: d.identity_transform,
}


@pytest.mark.parametrize('name', TRANSFORMS)
def test_transforms(name):
    """y, the way back, volumes, shapes; and those that can be inverted are, which needs no PyTorch."""
    x = [[0.3, -1., 0.5], [2., 0.1, -0.4]]
    ours = TRANSFORMS[name](D, torch.tensor)
    if ours.bijective:
        torch.testing.assert_close(ours.inv(ours(torch.tensor(x))), torch.tensor(x), rtol=1e-4, atol=1e-5)
    reference = pytest.importorskip('torch')
    theirs = TRANSFORMS[name](_Shown(reference.distributions), reference.tensor)
    for ask in (lambda o, x: o(x), lambda o, x: o.inv(o(x)), lambda o, x: o.log_abs_det_jacobian(x, o(x)),
                lambda o, x: o.inv.log_abs_det_jacobian(o(x), x), lambda o, x: tuple(o.forward_shape((2, 3))),
                lambda o, x: repr(o.domain), lambda o, x: repr(o.codomain), lambda o, x: o.bijective,
                lambda o, x: o.sign, repr_of, lambda o, x: o.codomain.event_dim):
        agree(outcome(lambda: ask(ours, torch.tensor(x))), outcome(lambda: ask(theirs, reference.tensor(x))), name)


def repr_of(transform, x):
    return repr(transform)


class _Shown:
    """PyTorch's names of transforms, also those that it keeps in their module."""

    def __init__(self, module):
        self.module = module

    def __getattr__(self, name):
        return getattr(self.module, name, None) or getattr(self.module.transforms, name)


def test_values_known_on_paper():
    density = -0.5 - math.log(2 * math.sqrt(2 * math.pi))
    assert D.Normal(1., 2.).log_prob(torch.tensor(3.)).item() == pytest.approx(density)
    assert D.Exponential(2.).cdf(torch.tensor(1.)).item() == pytest.approx(1 - math.exp(-2))
    assert D.Binomial(4, 0.5).log_prob(torch.tensor(2.)).exp().item() == pytest.approx(6 / 16)
    assert D.Poisson(2.).log_prob(torch.tensor(3.)).exp().item() == pytest.approx(8 / 6 * math.exp(-2))
    assert D.Categorical(torch.ones(4)).entropy().item() == pytest.approx(math.log(4))
    assert D.Beta(2., 1.).log_prob(torch.tensor(0.5)).item() == pytest.approx(0, abs=1e-6)
    assert D.kl_divergence(D.Normal(0., 1.), D.Normal(1., 1.)).item() == pytest.approx(0.5)
    mixture = D.MixtureSameFamily(D.Categorical(torch.tensor([1., 3.])), D.Normal(torch.tensor([0., 4.]), 1.))
    assert mixture.mean.item() == pytest.approx(3) and mixture.variance.item() == pytest.approx(1 + 3)


@pytest.mark.parametrize('name', ['Normal', 'Gamma', 'Beta', 'Laplace', 'Uniform', 'Poisson', 'Binomial', 'Gumbel',
                                  'Weibull'])
def test_samples_have_the_moments(name):
    torch.manual_seed(0)
    family = FAMILIES[name](D, torch.tensor)
    drawn = family.sample((20000,)).double()
    torch.testing.assert_close(drawn.mean(0), family.mean.double(), rtol=0.05, atol=0.03)
    torch.testing.assert_close(drawn.var(0), family.variance.double(), rtol=0.12, atol=0.03)


@pytest.mark.parametrize('name', ['Kumaraswamy', 'Gumbel', 'Laplace', 'LogNormal'])
def test_the_mode_is_where_the_density_is_highest(name):
    family = FAMILIES[name](D, torch.tensor)
    for moved in (0.98, 1.02):
        assert bool((family.log_prob(family.mode) >= family.log_prob(family.mode * moved)).all())


def test_a_family_of_ones_own_must_say_how_it_expands():
    class Own(D.Normal):
        def __init__(self):
            super().__init__(0., 1.)
    with pytest.raises(NotImplementedError, match='expand'):
        Own().expand((2,))


def test_modules_of_families_are_where_pytorch_has_them():
    from flambeau.distributions.categorical import Categorical
    from flambeau.distributions.multivariate_normal import MultivariateNormal
    assert Categorical is D.Categorical and MultivariateNormal is D.MultivariateNormal
