"""Where tests of traces find files, and how they write some."""

from pathlib import Path

import pytest

SHARED = Path(__file__).parents[2] / "shared" / "data"
SAMPLES = Path(__file__).parents[1] / "twin" / "traces" / "samples"
AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n"
GENTD26 = "gmt_create,predict_type,predict_status,exec_time_seconds,groupId,num_images_per_prompt\n"
SERVEGEN = "model,client,window_start_s,rate_per_s,cv,distribution,shape,scale\n"
PLAIN = "time,node,lm,prompts\n"


def write(tmp_path: Path, text: str, name: str = "trace.csv") -> Path:
    path = tmp_path / name
    path.write_text(text)
    return path


def shared(name: str) -> Path:
    path = SHARED / name
    if not path.exists():
        pytest.skip(f"{path} is not here: it holds real traces that are not part of the project")
    return path
