-- As put.lua, for creations under a limit of sessions: answers 'FOLD' where there is a legacy list,
-- and a creation with { 'CREATED', the user's ids }. Then nothing was written, or all of it.
--
-- For each caller:
-- KEYS[1..]  record, index, legacy list
--
-- ARGV[1]    key_prefix
-- ARGV[2..]  for each caller as in put.lua

--- @include "digits"
--- @include "put_records"

local KEYS_EACH = 3

local function must_fold(legacy_list)
  return redis.call('EXISTS', legacy_list) == 1
end

-- For the limit. An id whose time is past is dead, even if it stays in the index for the margin.
local function created(index, now)
  return { 'CREATED', redis.call('ZRANGEBYSCORE', index, '(' .. digits(now), '+inf') }
end

return put_records(KEYS_EACH, must_fold, created)
