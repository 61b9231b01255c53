"""Networks: the base class, containers, layers and losses; functional, init and utils beside them."""
from . import attention, functional, init, modules, parallel, utils
from .activation import *
from .adaptive import *
from .container import *
from .conv import *
from .distance import *
from .dropout import *
from .flatten import *
from .fold import *
from .lazy import *
from .linear import *
from .loss import *
from .multihead import *
from .normalization import *
from .padding import *
from .pixelshuffle import *
from .pooling import *
from .rnn import *
from .sparse import *
from .transformer import *
from .upsampling import *
from .module import Module
from .parallel import DataParallel
from .parameter import Buffer, Parameter, UninitializedBuffer, UninitializedParameter
