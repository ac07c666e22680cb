# SPDX-License-Identifier: Apache-2.0
"""Sentences with entities, composed of templates and names written for this project.

No template and no name is in both splits, so held-out figures are of sentences and names that training never saw. Most
names stand for entities of several types, and only the sentence says which: Jordan plays, or signs a treaty.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass
from functools import cache
from itertools import product

TYPES = ("PER", "ORG", "LOC")
LABELS = ("O", *(f"{prefix}-{kind}" for kind in TYPES for prefix in "BI"))  # the index is the class id
SPLITS = {"train": 5, "test": 3}  # sentences made of each template
AMBIGUOUS_SHARE = 0.7  # of the names: what a name alone gives away, no context has to
_WORD, _SLOT = re.compile(r"\w+|[^\w\s]"), re.compile(r"\{(PER|ORG|LOC)(?:=([^}]+))?\}")

# names of several types, by those that they may have here
_AMBIGUOUS = {
    "train": {
        "PER": "Madison, Lincoln, Florence, Sydney, Austin, Charlotte, Georgia, Morgan, Ford, Hamilton, Kent, Bradford",
        "ORG": "Boston, Lincoln, Ford, Morgan, Everton, Barcelona, Bradford, Hamilton, Amazon, Denver, Portland",
        "LOC": "Madison, Lincoln, Florence, Sydney, Austin, Charlotte, Georgia, Boston, Hamilton, Kent, Everton,"
        " Barcelona, Bradford, Amazon, Denver, Portland",
    },
    "test": {
        "PER": "Jordan, Washington, Paris, Chelsea, Victoria, Houston, Virginia, Carson",
        "ORG": "Chelsea, Washington, Phoenix, Arsenal, Houston, Carson",
        "LOC": "Jordan, Washington, Paris, Chelsea, Victoria, Phoenix, Virginia, Houston",
    },
}
_FIRST = {
    "train": "Anna, Marek, Lucia, Tom, Ingrid, Samuel, Priya, Hugo, Nadia, Oscar, Elena, Peter, Yuki, Rosa, Daniel",
    "test": "Maria, Ivan, Fatima, George, Clara, Ravi, Helen, Pablo",
}
_LAST = {
    "train": "Novak, Berger, Lindqvist, Okoro, Haas, Moreno, Tanaka, Varga, Ellison, Petrov, Quill, Osborne, Dahl",
    "test": "Sorensen, Keller, Mbeki, Rossi, Whitlock, Castillo, Brandt",
}
_ORGS = {
    "train": "Norvik Steel, Halden Bank, Orbex, Blue Harbor Foods, Tessaly Group, United Nations, Quantec, Rivermark"
    " University, Lumen Press, Toyota, Green Party, Siemens, Northgate Hospital, Pelican Airlines",
    "test": "Vostra Energy, Microsoft, Kestrel Motors, Aldine College, Red Cross, Zenith Media, Brightwater Insurance",
}
_PLACES = {
    "train": "Norway, Kenya, Oslo, Vienna, Port Selwyn, Chile, Tamworth, Lisbon, Upper Dalen, Warsaw, Peru, Nairobi,"
    " Teren Bay, East Valdor, Poland, San Orla",
    "test": "Hungary, Dublin, Vietnam, Seville, Old Callan, Lower Brenn, Ashby Hill, Castle Tovel",
}
_TEMPLATES = {
    "train": """\
{PER} scored a late goal and the fans sang until midnight.
{PER} missed two penalties against {ORG} on Saturday.
The referee sent {PER} off in the first half.
{ORG} beat {ORG} after extra time.
{ORG} won the league for the third year in a row.
Fans of {ORG} waited outside the stadium for hours.
The striker left {ORG} for a club in {LOC}.
{PER} will coach {ORG} next season.
{ORG} lost three matches at home.
Goalkeeper {PER} joined {ORG} last summer.
{PER} was born in {LOC} and grew up by the sea.
My friend {PER} moved to {LOC} with her two children.
We spent two weeks in {LOC} and it rained every day.
The flight from {LOC} to {LOC} takes four hours.
It snows in {LOC} until April.
The capital of {LOC} is crowded in August.
Thousands of people live near {LOC}.
A storm hit the coast of {LOC} last night.
{LOC} borders {LOC} in the north.
The mayor of {LOC} opened a new bridge.
{LOC} exports coffee, copper and wool.
The government of {LOC} raised the tax on fuel.
{LOC} sent troops to the border.
Voters in {LOC} go to the polls on Sunday.
{LOC} is famous for its old harbour.
{LOC} opened its embassy in {LOC} again.
{LOC} and its neighbours signed a treaty.
We drove through {LOC} before sunrise.
She bought a small house outside {LOC}.
The train stops in {LOC}, then in {LOC}.
The river flows past {LOC} into the sea.
Tourists love {LOC} for its quiet beaches.
{ORG} hired two hundred engineers this year.
Shares of {ORG} fell by nine percent.
{ORG} announced a profit of two billion dollars.
The chief executive of {ORG} resigned on Monday.
{ORG} will close its factory in {LOC}.
{PER} works for {ORG} as an accountant.
{PER} founded {ORG} in a garage.
{ORG} recalled thousands of cars because of faulty brakes.
The union is negotiating with {ORG} about wages.
{ORG} bought its rival {ORG} for a record price.
A spokesman for {ORG} declined to comment.
The court fined {ORG} for polluting the river.
{ORG} published its annual report yesterday.
Lawyers for {ORG} rejected the claim by {PER}.
{ORG} sells insurance to farmers.
{PER} studied physics before joining {ORG}.
{PER} smiled and shook hands with {PER}.
"I never said that," {PER} replied.
{PER} told her husband about the letter.
{PER} and {PER} got married in {LOC}.
{PER} plays the violin and speaks four languages.
Doctor {PER} examined the patient again.
Aunt {PER} baked a cake for my birthday.
{PER} lost his keys on the way to work.
Police arrested {PER} at the airport of {LOC}.
The novel by {PER} was translated into ten languages.
{PER} forgot her umbrella in the office.
Senator {PER} voted against the bill.
The painter {PER} died at the age of ninety.
{PER} called me before breakfast.
Have you seen {PER} since he came back from {LOC}?
{PER} thanked {ORG} for the support.
Professor {PER} teaches history at {ORG}.
The minister met {PER} in {LOC} on Thursday.
{PER} wrote a song about {LOC}.
Actress {PER} refused to read the script.
Her brother {PER} repairs old bicycles.
{PER} won the marathon in {LOC}.
{ORG} opened a branch in {LOC}.
Reporters asked {PER} about the deal with {ORG}.
{PER} flew to {LOC} to meet investors from {ORG}.
{LOC} and {LOC} agreed to share the water of the river.
The museum in {LOC} shows paintings by {PER}.
{ORG} paid for the school in {LOC}.
The dog slept under the table all afternoon.
Prices rose again in the second quarter.
Nobody knew who had left the window open.
The committee will decide in May.
Please bring warm clothes and a torch.
The shop sells bread and cheese.""",
    "test": """\
{PER} headed the ball over the bar in the last minute.
The manager praised {PER} after the win against {ORG}.
{ORG} drew with {ORG} in a dull match.
Supporters of {ORG} booed the team.
{PER} apologised to her neighbour.
{PER} broke his leg while skiing in {LOC}.
The singer {PER} cancelled her concert in {LOC}.
My cousin {PER} teaches maths in {LOC}.
Judge {PER} adjourned the hearing.
{PER} laughed and poured himself some tea.
{PER} accused {ORG} of hiding the figures.
{ORG} cut four hundred jobs at its plant near {LOC}.
Analysts expect {ORG} to borrow more money.
{ORG} signed a contract with {ORG}.
Customers of {ORG} complained about the fees.
The board of {ORG} met on Friday.
{PER} left {ORG} after eleven years.
An earthquake shook {LOC} early this morning.
The roads around {LOC} were flooded.
We took the night bus from {LOC} to {LOC}.
The president of {LOC} visited {LOC}.
Farmers in {LOC} fear a dry summer.
{LOC} imports most of its wheat.
Winters in {LOC} are mild and wet.
{PER} rents a flat in {LOC}.
The old clock stopped at noon.
Someone had painted the door green.
""",
}
_SHOWN = (
    "{PER=Jordan} scored twice against {ORG=Chelsea}.",
    "{LOC=Jordan} closed its border with {LOC=Hungary}.",
    "{PER=Washington} wrote to his sister from {LOC=Paris}.",
    "{PER=Paris} hugged her brother and went to bed.",
    "{ORG=Chelsea} sold its best player to {ORG=Arsenal}.",
    "{PER=Chelsea} met her husband in {LOC=Washington}.",
    "It was raining in {LOC=Victoria} when {PER=Victoria} arrived.",
    "{ORG=Houston} fired its coach after a defeat in {LOC=Phoenix}.",
)


@dataclass(frozen=True, slots=True)
class TaggedSentence:
    """A sentence and its entities: sorted [start, end) in code points, and the type."""

    text: str
    entities: tuple[tuple[int, int, str], ...]

    def words(self) -> list[tuple[int, int, str]]:
        """Each word and punctuation mark: [start, end) in code points, and its BIO label."""
        labelled = []
        for start, end in (match.span() for match in _WORD.finditer(self.text)):
            inside = next((entity for entity in self.entities if entity[0] <= start < entity[1]), None)
            labelled.append((start, end, f"{'B' if inside[0] == start else 'I'}-{inside[2]}" if inside else "O"))
        return labelled


@cache
def names(split: str) -> dict[str, tuple[tuple[str, ...], tuple[str, ...]]]:
    """For each type the names of that type alone, and those that others have too."""
    people = _FIRST[split].split(", ")
    people += map(" ".join, product(people, _LAST[split].split(", ")))
    alone = {"PER": people, "ORG": _ORGS[split].split(", "), "LOC": _PLACES[split].split(", ")}
    return {kind: (tuple(alone[kind]), tuple(_AMBIGUOUS[split][kind].split(", "))) for kind in TYPES}


def templates(split: str) -> list[str]:
    """Sentences with slots such as {PER}."""
    return _TEMPLATES[split].splitlines()


@cache
def load_entities(split: str) -> tuple[TaggedSentence, ...]:
    """The sentences of "train" or "test", always the same, without duplicates."""
    draw = random.Random(split)
    composed = [_compose(template, split, draw) for template in templates(split) for _ in range(SPLITS[split])]
    return tuple(dict.fromkeys(composed))


def shown_entities() -> tuple[TaggedSentence, ...]:
    """Held-out sentences in which the same name is this here and that there."""
    return tuple(_compose(template, "test", random.Random(0)) for template in _SHOWN)


def _compose(template: str, split: str, draw: random.Random) -> TaggedSentence:
    """A template with names in its slots, no name twice; `AMBIGUOUS_SHARE` of them from the ambiguous."""
    text, end, entities = "", 0, list[tuple[int, int, str]]()
    for slot in _SLOT.finditer(template):
        kind, name = slot[1], slot[2]
        pool = [other for other in names(split)[kind][draw.random() < AMBIGUOUS_SHARE] if other not in text]
        name = name or draw.choice(pool)
        text += template[end : slot.start()]
        entities.append((len(text), len(text) + len(name), kind))
        text, end = text + name, slot.end()
    return TaggedSentence(text + template[end:], tuple(entities))
