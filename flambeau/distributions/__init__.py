"""`torch.distributions`: probability distributions with samples, densities, moments, entropies and divergences."""
import sys

from . import constraints, continuous, derived, discrete, distribution, multivariate, transforms
from .constraint_registry import biject_to, transform_to
from .continuous import *  # noqa: F403
from .derived import *  # noqa: F403
from .discrete import *  # noqa: F403
from .distribution import Distribution
from .kl import kl_divergence, register_kl
from .multivariate import LowRankMultivariateNormal, MultivariateNormal
from .transforms import *  # noqa: F403

__all__ = ['Distribution', 'LowRankMultivariateNormal', 'MultivariateNormal', 'biject_to', 'constraints',
           'kl_divergence', 'register_kl', 'transform_to', *continuous.__all__, *derived.__all__, *discrete.__all__,
           *transforms.__all__]

# PyTorch has a module for each family
for _module, _names in {
        continuous: 'beta cauchy chi2 dirichlet exponential fishersnedecor gamma laplace normal studentT uniform',
        derived: """gumbel half_cauchy half_normal independent inverse_gamma kumaraswamy log_normal logistic_normal
            mixture_same_family pareto
            relaxed_bernoulli relaxed_categorical transformed_distribution weibull""",
        discrete: 'bernoulli binomial categorical geometric multinomial negative_binomial one_hot_categorical poisson',
        multivariate: 'lowrank_multivariate_normal multivariate_normal', distribution: 'utils'}.items():
    for _name in _names.split():
        sys.modules[f'{__name__}.{_name}'] = _module
        globals()[_name] = _module
