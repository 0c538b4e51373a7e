"""The one exception that means: the input or the request is at fault, not the program."""


class UserError(Exception):
    """A fault in what was asked for or fed in.

    The message is one line that names the file or option, the fault, and the remedy. The command line
    prints it alone and exits with code 2.
    """
