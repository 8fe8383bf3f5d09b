
-- Answers what lay there, and whose session it was.
return { answer == '1' and current, owner or false }
