-- Writes the tombstone of an ended key once more, so that the server's answer to WAIT counts it.
-- Any other value is left alone. A record that is back, because the primary that had ended it was
-- lost, is ended again. Answers the value and does nothing when Rust has to decide whose record it
-- is.
--
-- KEYS[1]  record
--
-- ARGV[1]  id
-- ARGV[2]  tombstone_ms    life of the tombstone, in ms
-- ARGV[3]  known_value     see lib/owner.lua
-- ARGV[4]  known_owner     see lib/owner.lua

--- @include "owner"
--- @include "tombstone"

local record = KEYS[1]
local id, tombstone_ms = ARGV[1], ARGV[2]

local current = redis.call('GET', record)
if current and not is_tombstone(current) then
  local owner = owner_of(id, current, ARGV[3], ARGV[4])
  if owner == false then return current end
  if not owner then return 0 end
end
-- DEL before SET: once a script has deleted, a full memory refuses it nothing.
redis.call('DEL', record)
redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
return 1
