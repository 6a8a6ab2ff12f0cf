"""What passing through the codec costs, on few clips."""

import json
from pathlib import Path

from motion_transfer.model.catalog import ASSETS
from motion_transfer.nano.codec_check import check_codec, codec_stamp


def test_drawn_and_real_clips_come_back(tmp_path: Path) -> None:
    found = check_codec(ASSETS / "nano", 2, tmp_path)
    assert found["psnr_db"] > 22 and found["worst_real_psnr_db"] > 25
    written = json.loads((tmp_path / "codec.json").read_text())
    assert written["stamp"] == codec_stamp(ASSETS / "nano", 2) and len(written["psnr_db_by_frame"]) == 49
    assert (tmp_path / "codec.png").is_file()
