"""What makes data sets, one module a kind: ``make(spec, source)`` returns the tensors.

``spec`` is what the data job is told, ``source`` the file that it was given, if any.
"""
