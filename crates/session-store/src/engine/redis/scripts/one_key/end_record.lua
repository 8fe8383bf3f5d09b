-- Ends a key. Answers { what lay there, if `how` is 'take', whose session record it was }; nothing
-- where nothing was done; { value } when Rust has to decide whose record it is.
--
-- KEYS[1]  record
--
-- ARGV[1]  id
-- ARGV[2]  tombstone_ms    life of the tombstone, in ms
-- ARGV[3]  how             'end', 'delete' or 'take': see lib/end_record.lua
-- ARGV[4]  known_value     see lib/owner.lua
-- ARGV[5]  known_owner     see lib/owner.lua

--- @include "end_record"

local how = ARGV[3]

local answer, current, owner = end_record(KEYS[1], ARGV[1], ARGV[2], how, ARGV[4], ARGV[5])
if answer ~= nil then return answer end
return { how == 'take' and current, owner or false }
