"""Networks: the base class, containers, layers and losses; functional, init and utils beside them."""
from . import init, modules, utils
from .container import *
from .conv import *
from .fold import *
from .module import Module
from .padding import *
from .parameter import Buffer, Parameter
from .pixelshuffle import *
from .pooling import *
from .rnn import *
from .upsampling import *
