"""Update rules: what a gradient does, by the kind of ``optimiser`` in a config's ``training``.

Each module offers ``make(parameters, settings)``, which takes the parameters by name and the whole
section ``training``. It returns an object with

``state``
    Its whole state as tensors by name, for checkpoints without pickles; all that a step changes
    besides the parameters.
``step(learning_rate)``
    Updates the parameters in place by their gradients, which it leaves to the trainer to drop. The
    learning rate is a tensor on the parameters' device, so that a captured step can be told another
    one.

The rules here are PyTorch's own fused updates, called as functions: constructing
``torch.optim.Adam`` loads PyTorch's compiler, two seconds that every short training would pay.
"""
