"""No claims."""


def decide(_):
    return iter(())
