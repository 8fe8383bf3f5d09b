--- @include "past_entries"

-- Drops entries of an index whose expiry is past by the margin. Returns how many.
local function drop_past_entries(index, now)
  local past = past_entries(index, now)
  if #past > 0 then redis.call('ZREM', index, unpack(past)) end
  return #past
end
