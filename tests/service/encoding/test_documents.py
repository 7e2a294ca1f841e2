import numpy as np
import pytest

from latentserve.service.bundle import SampleSpec
from latentserve.service.encoding.documents import PNG, WEBP, make_document
from latentserve.service.encoding.provenance import Provenance
from latentserve.service.errors import TooLargeError

PROVENANCE = Provenance("digits", "1", 0, 0)
BROAD = SampleSpec(kind="image", shape=[1, 1, 8190], channels="L", value_range=(-1, 1))
HIGH = SampleSpec(kind="image", shape=[1, 8190, 1], channels="L", value_range=(-1, 1))


@pytest.mark.parametrize("spec", [BROAD, HIGH])
def test_a_sheet_that_webp_cannot_hold_is_refused_before_it_is_drawn(spec: SampleSpec) -> None:
    with pytest.raises(TooLargeError, match=r"n: 7 images .* 16,?383"):
        make_document(WEBP, 7, spec, PROVENANCE)
    make_document(PNG, 7, spec, PROVENANCE)


@pytest.mark.parametrize("spec", [BROAD, HIGH])
def test_the_largest_sheet_that_webp_holds_is_drawn(spec: SampleSpec) -> None:
    document = make_document(WEBP, 4, spec, PROVENANCE)
    document.rows(np.zeros((4, *spec.shape), np.uint8), None)
    assert document.closing()[8:12] == b"WEBP"
