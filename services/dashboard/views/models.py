"""Models: who serves, who was refused and why, how good each is by slice; and the way back."""

import hmac
from collections.abc import Sequence
from html import escape

import streamlit as st

from bikeshare.core.checklist import checklist, occasion, slice_errors, standing, trained_on
from bikeshare.errors import BikeshareError
from bikeshare.ports import ModelVersion
from services.dashboard import frame
from services.dashboard import world as data
from services.dashboard.world import World

SHOWN = 9
"""Versions shown as cards; the list below them has all."""

MARKS = {"passed": ("ok", "passed"), "failed": ("bad", "failed"), "info": ("none", "info")}


def show() -> None:
    """The page."""
    world = data.world()
    frame.title("Models", "Every version, what the gate found, and one step back.")
    with frame.guard("The registry", "Check `MLFLOW_TRACKING_URI`; `bikeshare registry list` must answer."):
        known = data.versions(world)
        if not known:
            frame.nothing("No version yet", "Train one: `bikeshare pipeline run`.")
            return
        st.html(_overview(known))
        version = _choose(known)
        found = next(item for item in known if item.version == version)
        _gate(found)
        _card(world, found)
    with frame.guard("The way back", "Use the command line: `bikeshare registry rollback`."):
        _rollback(world, known)


def _overview(known: Sequence[ModelVersion]) -> str:
    cards = []
    for item in worth_a_card(known):
        word, kind = standing(item.tags, item.aliases)
        window = trained_on(item.tags)
        cards.append(
            f'<article class="card {kind}"><h2>{escape(f"trained on {window}" if window else "")}'
            f'<span class="pill {kind} state">{escape(word)}</span></h2><h3>Version {escape(item.version)}</h3>'
            f"<p>{escape(occasion(item.tags))}</p></article>"
        )
    return f'<section class="cards">{"".join(cards)}</section>'


def worth_a_card(known: Sequence[ModelVersion]) -> list[ModelVersion]:
    """The newest versions, and in any case those that have a part now (champion, previous, challenger)."""
    named = [item for item in known if item.aliases]
    others = [item for item in known if not item.aliases][:max(0, SHOWN - len(named))]
    return [item for item in known if item in named or item in others]


def _choose(known: Sequence[ModelVersion]) -> str:
    names = [item.version for item in known]
    asked = st.query_params.get("version", "")
    champion = next((item.version for item in known if "champion" in item.aliases), names[0])
    start = names.index(asked if asked in names else champion)
    chosen = st.selectbox("Look at version", names, index=start, format_func=lambda name: f"v{name}")
    return str(chosen)


def _gate(found: ModelVersion) -> None:
    lines = checklist(found.tags)
    if not lines:
        frame.nothing("No checklist", "The gate has not judged this version: it is in training, or came by hand.")
        return
    rows = []
    for line in lines:
        kind, word = MARKS.get(line.verdict, ("none", line.verdict))
        name = escape(line.name.replace("_", " "))
        rows.append((f'<span class="pill {kind}">{word}</span>', name, escape(line.detail)))
    verdict = found.tags.get("gate", "")
    frame.panel(
        f"Gate: version {found.version} was {verdict}" if verdict else "Gate",
        frame.table(("result", "check", "evidence"), rows), found.tags.get("gate_reason", ""),
    )
    parts = slice_errors(found.tags)
    if parts:
        frame.panel("Error by slice", frame.table(
            ("slice", "MAE", f"MAE of the {parts[0].against}", "ratio", "hours"),
            [(escape(part.name), f"{part.ours:.1f}", f"{part.other:.1f}",
              f"{part.ours / part.other:.2f}" if part.other else "", str(part.rows)) for part in parts],
            numbers=(1, 2, 3, 4),
        ), "Bikes per hour on hours the judged recipe never saw; the worst ratio first.")


def _card(world: World, found: ModelVersion) -> None:
    with st.expander(f"Model card of version {found.version}", icon=":material/description:"):
        # A card comes with the whole artifact (some megabytes): only fetched when somebody wants it.
        if st.toggle("Open the card", key=f"card-{found.version}", value="version" in st.query_params):
            with frame.guard("The card", "The artifact store must answer; the version may have been deleted."):
                st.markdown(data.model(world, found.version).card)


def _rollback(world: World, known: Sequence[ModelVersion]) -> None:
    by_alias = {alias: item.version for item in known for alias in item.aliases}
    previous, champion = by_alias.get("previous"), by_alias.get("champion")
    if previous is None or champion is None:
        frame.nothing("Nothing to roll back to", "There is no previous version: the first one cannot be rolled back.")
        return
    elsewhere = world.settings.rollout == "kubernetes"
    locked = elsewhere or not world.settings.api_key.get_secret_value()
    how = (
        "The dashboard of a cluster may change nothing there: run `python3 hack/cluster_run.py registry rollback`."
        if elsewhere else
        "From here it needs a key: set `BIKESHARE_API_KEY` for the dashboard, or run `bikeshare registry rollback`."
        if locked else "You will be asked for a reason and the API key."
    )
    frame.panel("Roll back", f"<p>Version {escape(previous)} would serve again instead of version {escape(champion)}. "
                f"It is started beside the serving one and takes over once it is ready. {frame.prose(how)}</p>")
    if not locked and st.button(f"Roll back to version {previous} …", icon=":material/undo:"):
        _confirm(world, champion, previous)
    done = st.session_state.pop("rolled_back", None)
    if done:
        st.success(done)


@st.dialog("Roll back")
def _confirm(world: World, champion: str, previous: str) -> None:
    st.write(f"All traffic goes from version {champion} to version {previous}. People are told.")
    # A form sends all of its fields at once, also to those who never leave the keyboard.
    with st.form("roll-back", border=False):
        reason = st.text_input("Why", placeholder="Goes to the alert and to the version's tags")
        key = st.text_input("API key", type="password")
        sure = st.checkbox(f"Yes, serve version {previous}")
        asked = st.form_submit_button("Roll back now", type="primary")
    if not asked:
        return
    if not (sure and key and reason):
        st.error("A reason, the API key and the tick are needed; nothing was changed.")
        return
    if not hmac.compare_digest(key.encode(), world.settings.api_key.get_secret_value().encode()):
        st.error("The API key is wrong; nothing was changed.")
        return
    try:
        with st.spinner(f"Version {previous} is started and takes over …"):
            result = data.roll_back_to(world, previous, reason)
    except BikeshareError as error:
        st.error(f"Nothing was changed: {error} From a shell: `bikeshare registry rollback`.")
        return
    st.session_state["rolled_back"] = f"Version {result.version} serves and is champion."
    data.forget()
    st.rerun()
