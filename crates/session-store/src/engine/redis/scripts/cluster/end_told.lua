
-- Answers what lay there, and whose session it was.
return { how == 'take' and current, owner or false }
