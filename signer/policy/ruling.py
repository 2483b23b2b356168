"""What the policy says of one item. The agent decides by it, the worker decides by it again.

It knows nothing of what was signed before; `signer.policy.decision` adds that.
"""

from typing import NamedTuple

from signer.messages.amounts import gwei_text
from signer.messages.items import Deposit, Exit, Item
from signer.policy.policy import Policy


class Ruling(NamedTuple):
    """Whether an item may be signed, and by which part of the policy."""

    allowed: bool
    rule: str  # the part of the policy that decides, as the YAML file calls it
    why: str  # printable ASCII
    code: str = ""  # when it may not


def rule_on(item: Item, policy: Policy) -> Ruling:
    """Rule on `item`. What no part of the policy allows is denied."""
    if isinstance(item, Exit):
        return _rule_on_exit(policy)
    if isinstance(item, Deposit):
        return _rule_on_deposit(item, policy)
    validator_index, address = item
    label = policy.labels.get(address)
    if label is None:
        return Ruling(False, "addresses", "the address is not one the policy allows", "E_TARGET")
    rule = f"addresses: {label}"
    if not policy.allows(item):
        why = f"validator {validator_index} is not one that may pay to this address"
        return Ruling(False, f"{rule}: validators", why, "E_TARGET")
    return Ruling(True, rule, f"the policy allows it: {label}")


def _rule_on_exit(policy: Policy) -> Ruling:
    if not policy.exits:
        return Ruling(False, "exits", "the policy does not allow exits", "E_KIND")
    return Ruling(True, "exits", "the policy allows exits")


def _rule_on_deposit(item: Deposit, policy: Policy) -> Ruling:
    if policy.deposits is None:
        return Ruling(False, "deposits", "the policy does not allow deposits", "E_KIND")
    label = policy.deposits.labels.get(item.withdrawal_credentials)
    if label is None:
        why = "the withdrawal credentials are not ones the policy allows"
        return Ruling(False, "deposits: credentials", why, "E_TARGET")
    low, high = policy.deposits.minimum_gwei, policy.deposits.maximum_gwei
    if not low <= item.amount_gwei <= high:
        side, limit = ("minimum_eth", low) if item.amount_gwei < low else ("maximum_eth", high)
        why = f"{gwei_text(item.amount_gwei)} ETH; the policy's {side} is {gwei_text(limit)}"
        return Ruling(False, f"deposits: {side}", why, "E_AMOUNT")
    return Ruling(True, f"deposits: {label}", f"the policy allows it: {label}")
