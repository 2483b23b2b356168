"""Which tokens get a card at all."""

import dataclasses

import pytest

from signer.custody.jobs import open_order, order_bytes
from signer.custody.jobs.sources import SecretSource, TokenChoice
from signer.custody.jobs.tokens import MakeCard
from signer.custody.worker.tokens import make_card
from signer.errors import ProfileError
from signer.hsm.profile import load_profile


@pytest.mark.case("X948", "card of a token to which only the token itself could seal")
def test_a_token_that_nobody_can_seal_to_gets_no_card() -> None:
    profile = dataclasses.replace(
        load_profile("softhsm2"), seal_methods=("aes-256-gcm",), ceremony=False
    )
    token = TokenChoice(profile=profile, label="x")
    job = MakeCard(token=token, pin=SecretSource(file="/none"), name="Ada", created=5)
    with pytest.raises(ProfileError, match="no dealer could seal"):
        make_card(open_order(order_bytes(job))[1])
