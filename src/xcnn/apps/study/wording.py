"""The texts of the studies, which a change gives a new version; a study keeps its own."""

CONSENT_VERSION = "1"
CONSENT = """You will see photographs, each with coloured pictures ("maps") made by a computer program, and say for \
each photograph which map fits best. It takes a quarter of a minute for a photograph, and you may stop at any time.

Kept are your answers, when you gave them, and how long each took. Neither your name nor your address is asked or \
kept. The answers are published without anything that says who gave them.

You may withdraw at any time, by the link below every question: all your answers are then deleted at once."""
INSTRUCTIONS = {
    "maps": """Each page names what is in a photograph, and shows the photograph and several maps of it. Bright, \
yellow places of a map are those that the program marks; dark ones it leaves out.

Choose the map that best matches the named object. If the maps seem alike, say so. There is no right answer to be \
guessed: your own impression counts. The first pages are for practice.""",
    "models": """Each page names what is in a photograph, and shows the photograph and two maps of it. Bright, yellow \
places of a map are those that the program marks; dark ones it leaves out.

Say which of the two maps is the more reliable one for the named object, and by how much. There is no right answer to \
be guessed: your own impression counts. The first pages are for practice.""",
}
QUESTION = {
    "maps": "Which map best matches the object that is named above?",
    "models": "Which map is the more reliable one for the object that is named above?",
}
