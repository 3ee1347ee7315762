"""Inputs: what a batch is made of, by the kind of a config's ``input``.

Each module offers ``build(order, targets, outputs, settings)``:

``order``
    The `collapse.training.order.Order` of the samples: which samples stand at which place of the
    epoch, how it is cut into batches, and how images are moved. Whoever needs further random
    numbers draws them from `collapse.training.order.generator`, in a stream of their own.
``targets``
    Those of all N samples: labels, N, or real targets, N x n.
``outputs``
    K, the number of the networks' outputs.
``settings``
    The section ``input``.

It returns an object with an attribute and two methods:

``soft``
    Whether the targets are distributions over the classes, of which the history keeps the entropy.

``draw(epoch)``
    Draws all that is random in an epoch (from 1), the order among it, into the same memory each
    time. It follows from the seeds and the epoch alone: so a training goes on where another left
    off, and a network trains as it would without its neighbours.
``take(places)``
    Returns the inputs, E x B x C x H x W, and targets, E x B labels or E x B x K numbers, float32,
    at B places of the epoch. It runs inside the captured step: it waits for nothing, draws
    nothing, and changes no memory.
"""
