
-- The third key: the legacy list.
local KEYS_EACH = 3

-- Whether it has to be folded into the index first.
local function must_fold(legacy)
  return redis.call('EXISTS', legacy) == 1
end

-- Answers the user's ids, for the limit. An id whose time is past is dead, even if it stays in the index for the margin.
local function created(index, now)
  return { 'CREATED', redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf') }
end
