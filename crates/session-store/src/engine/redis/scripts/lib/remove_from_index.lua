--- @include "index_call"

-- Removes ids from a user's index.
local function remove_from_index(key_prefix, index, ids)
  for first = 1, #ids, 1000 do
    index_call(key_prefix, 'ZREM', index, unpack(ids, first, math.min(first + 999, #ids)))
  end
end
