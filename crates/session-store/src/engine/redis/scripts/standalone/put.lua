-- Indexes and writes session records. Answers for each caller: see lib/put_records.lua. A creation
-- is 'CREATED'.
--
-- For each caller:
-- KEYS[1..]  record, index
--
-- ARGV[1]    key_prefix
-- For each caller:
-- ARGV[2..]  id
--            the record
--            life of the record, in ms
--            life of the index, in ms
--            expected      see lib/write_refusal.lua
--            create        see lib/write_refusal.lua
--            expires_at    the record's own expiry, in ms since the epoch ('': none)

--- @include "put_records"

local KEYS_EACH = 2

local function must_fold()
  return false
end

local function created()
  return 'CREATED'
end

return put_records(KEYS_EACH, must_fold, created)
