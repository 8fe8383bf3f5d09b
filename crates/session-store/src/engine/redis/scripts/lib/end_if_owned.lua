--- @include "owner"
--- @include "tombstone"

-- Ends a session if it is this user's, or absent. `tombstone_ms`: life of the tombstone.
--
-- Returns 'LIVE': it was; 'GONE': there was none; 'OTHER': it is left alone; 'UNDECIDED': it is
-- left alone, and Rust has to decide whose it is.
local function end_if_owned(record, id, user, tombstone_ms)
  local current = redis.call('GET', record)
  if is_tombstone(current) then return 'GONE' end
  if current then
    local owner = owner_of(id, current)
    if owner == false then return 'UNDECIDED' end
    if owner ~= user then return 'OTHER' end
  end
  -- DEL before SET: once a script has deleted, a full memory refuses it nothing.
  redis.call('DEL', record)
  redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
  return current and 'LIVE' or 'GONE'
end
