-- Removes index entries whose session is surely dead, of some ids: no more than fits into one part.
-- KEYS: index, legacy list. ARGV: key prefix, life of a tombstone in ms, how many ids may be claimed, these ids, then the ids to look at;
-- none: the first of the index, if there is no legacy list.
-- Answers how many ids it has looked at, how many entries it has removed, the ids whose record is absent, and 1 when these were all.
local MOST = TOGETHER
local index, legacy = KEYS[1], KEYS[2]
local key_prefix, tombstone_ms = ARGV[1], ARGV[2]

local claimed = {}
local from = 4 + tonumber(ARGV[3])
for n = 4, from - 1 do claimed[ARGV[n]] = true end
local ids = { unpack(ARGV, from) }
local first = #ids == 0 and redis.call('EXISTS', legacy) == 0
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
unindex(key_prefix, index, gone)
return { looked, #gone, absent, first and looked == #ids and 1 or 0 }
