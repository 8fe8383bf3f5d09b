--- @include "another_application"
--- @include "owner"
--- @include "tombstone"

-- Ends a key: a session record becomes a tombstone; another application's record is left alone; any
-- other value is deleted.
--
-- `tombstone_ms`: life of the tombstone. `known_value`, `known_owner`: see owner.lua.
-- `how`: 'end': the key may be a session's, so nothing becomes a tombstone, too.
--        'delete': it can be no session's. 'take': nothing stays nothing.
--
-- Returns nil, what lay there, and whose session record it was. Where it has done nothing it
-- returns the script's answer instead: false, or { value } when Rust has to decide whose record it
-- is.
local function end_record(record, id, tombstone_ms, how, known_value, known_owner)
  local current = redis.call('GET', record)
  if is_tombstone(current) then return false end
  local owner
  if current then
    owner = owner_of(id, current, known_value, known_owner)
    if owner == false then return { current } end
    if not owner and is_record_of_another(id, current) then return false end
  end
  -- DEL before SET: once a script has deleted, a full memory refuses it nothing.
  redis.call('DEL', record)
  if owner or not current and how == 'end' then redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms) end
  return nil, current, owner
end
