"""Data sets: what is known of them, how they are made and verified, and how they are read.

Each is a module of `collapse.data.sets`. What can be known of its kind is a class in
`collapse.data.kinds`, the code that makes it the module of that name in `collapse.data.makers`,
and `collapse.data.dataset` reads back what was made. All are imported from their modules, so that
the code that trains does not depend on the code that downloads.
"""
