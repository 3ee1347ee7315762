"""The one exception that ends a command with a single line and exit code 2."""


class InputError(Exception):
    """Bad input from outside: a config, a data set, a features file or a command line.

    The message is one line that names the file, the key or tensor, what was found
    and what is allowed. The command line prints it without a traceback.
    """
