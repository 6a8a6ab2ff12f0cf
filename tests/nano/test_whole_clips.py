"""Whole clips at once, or piece by piece: the same latents and the same pixels."""

import pytest
import torch

from motion_transfer.nano.codec import build_codec
from motion_transfer.nano.whole_clips import decode_whole, encode_whole, for_whole_clips


@pytest.mark.parametrize("num_frames", [1, 5, 17])
def test_whole_clips_are_coded_as_pieces_are(num_frames: int) -> None:
    torch.manual_seed(0)
    codec = build_codec().eval()
    for parameter in codec.parameters():  # away from the start, where time convolutions copy or average
        parameter.data += 0.02 * torch.randn_like(parameter)
    clips = torch.rand(2, 3, num_frames, 32, 32) * 2 - 1
    with torch.no_grad():
        z = codec.encode(clips).latent_dist.mode()
        frames = codec.decode(z).sample
        for_whole_clips(codec)
        torch.testing.assert_close(encode_whole(codec, clips).mode(), z)
        torch.testing.assert_close(decode_whole(codec, z).clamp(-1, 1), frames, atol=1e-5, rtol=1e-4)
