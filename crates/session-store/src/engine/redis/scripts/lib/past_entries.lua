--- @include "digits"

-- Entries of an index whose expiry is past by the margin, the first of them: no more than fit into
-- one part.
local function past_entries(index, now)
  return redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. digits(now - INDEX_MARGIN_MS), 'LIMIT', 0, IDS_PER_STEP)
end
