"""The pages for people: examine one picture and ask about it, the history, reviews, and many pictures at once."""
