
-- The third key: the legacy list.
local KEYS_EACH = 3

-- Answers the user's ids, for the limit. An id whose time is past is dead, even if it stays in the index for the margin.
local function created(key_prefix, index, legacy, now)
  fold(key_prefix, index, legacy)
  return { 'CREATED', redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf') }
end
