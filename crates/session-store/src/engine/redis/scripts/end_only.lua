
-- The record leaves its owner's index. ARGV: those of end.lua, user prefix.
if owner then unindex(string.sub(record, 1, #record - #id), ARGV[6] .. owner, { id }) end
return how == 'take' and current
