-- Ends a key, and removes a session from its owner's index. Answers what lay there, if `how` is
-- 'take'; { value } when Rust has to decide whose record it is; else nothing.
--
-- KEYS[1]  record
--
-- ARGV[1]  id
-- ARGV[2]  tombstone_ms    life of the tombstone, in ms
-- ARGV[3]  how             'end', 'delete' or 'take': see lib/end_record.lua
-- ARGV[4]  known_value     see lib/owner.lua
-- ARGV[5]  known_owner     see lib/owner.lua
-- ARGV[6]  user_prefix

--- @include "end_record"
--- @include "remove_from_index"

local record, id, how = KEYS[1], ARGV[1], ARGV[3]

local answer, current, owner = end_record(record, id, ARGV[2], how, ARGV[4], ARGV[5])
if answer ~= nil then return answer end
if owner then remove_from_index(string.sub(record, 1, #record - #id), ARGV[6] .. owner, { id }) end
return how == 'take' and current
