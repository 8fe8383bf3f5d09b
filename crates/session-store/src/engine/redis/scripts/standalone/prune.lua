-- Removes index entries whose session is surely dead, of some ids: no more than fit into one part.
-- Answers how many ids it has looked at, how many entries it has removed, the ids whose record is
-- absent, and 1 when these were all.
--
-- KEYS[1]    index
-- KEYS[2]    legacy list
--
-- ARGV[1]    key_prefix
-- ARGV[2]    tombstone_ms    life of a tombstone, in ms
-- ARGV[3]    how many ids may be claimed
-- ARGV[4..]  these ids: their absence is made sure by a tombstone; then the ids to look at; none of
--            those: the first of the index, if there is no legacy list

--- @include "clock"
--- @include "index_call"
--- @include "past_entries"
--- @include "remove_from_index"
--- @include "tombstone"

local MOST = IDS_PER_STEP
local index, legacy_list = KEYS[1], KEYS[2]
local key_prefix, tombstone_ms = ARGV[1], ARGV[2]

local claimed = {}
local from = 4 + tonumber(ARGV[3])
for n = 4, from - 1 do claimed[ARGV[n]] = true end
local ids = { unpack(ARGV, from) }
local first = #ids == 0 and redis.call('EXISTS', legacy_list) == 0
if first then ids = index_call(key_prefix, 'ZRANGE', index, 0, MOST) end

local past = {}
for _, id in ipairs(past_entries(index, now_ms())) do past[id] = true end
local looked = math.min(#ids, MOST)
local gone, absent = {}, {}
for n = 1, looked do
  local id = ids[n]
  local record = key_prefix .. id
  -- A key of another type is no session. Any other refusal is this step's.
  local size = redis.pcall('STRLEN', record)
  if type(size) == 'table' and not string.find(size.err, 'WRONGTYPE', 1, true) then return size end
  local current = type(size) == 'number' and size <= TOMBSTONE_BYTES and redis.call('GET', record)
  if past[id] or is_tombstone(current) then
    gone[#gone + 1] = id
  elseif size == 0 and not current then
    if claimed[id] then
      redis.call('SET', record, TOMBSTONE, 'PX', tombstone_ms)
      gone[#gone + 1] = id
    else
      absent[#absent + 1] = id
    end
  end
end
remove_from_index(key_prefix, index, gone)
return { looked, #gone, absent, first and looked == #ids and 1 or 0 }
