"""One plain line about a record: do the latents say anything of the data?"""


def line(record: dict) -> str:
    """The verdict on the best weights, for a terminal.

    For images in bits per image, for text in nats per token. A decoder alone has a
    sentence of its own.
    """
    raise NotImplementedError
