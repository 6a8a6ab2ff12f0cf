"""Errors a person can cause. Each message is one sentence: what was expected, what came, what to do."""


class MotionTransferError(Exception):
    """Anything the user can mend; its text is shown as it is."""


class BadClip(MotionTransferError):
    """The file is not a usable video, or the chosen span holds too little."""


class BadSpec(MotionTransferError):
    """A setting is out of range or unknown."""


class BadLora(MotionTransferError):
    """The file is not a LoRA that can be used."""


class WrongBase(MotionTransferError):
    """The LoRA was made for another base model."""


class MissingWeights(MotionTransferError):
    """The base model's weights are not where they should be."""


class Diverged(MotionTransferError):
    """What is learned left the range of numbers."""


class NotEnoughMemory(MotionTransferError):
    """The work does not fit into memory."""


class StorageFailed(MotionTransferError):
    """The disk or the workspace does not take what is to be saved."""


class HubFailed(MotionTransferError):
    """The Hugging Face Hub does not take or give what is asked."""


class Cancelled(MotionTransferError):
    """The user stopped the work."""
