-- Put before every script: the clock, the tombstone, and what touches an index.

local TOMBSTONE = '\255ended'

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- ARGV numbers that reach a command as text must not become 1e+15.
local function digits(number)
  return string.format('%.0f', number)
end

-- The owner of the session record `value` of `id`; nil when it is no session record.
local function owner_of(id, value)
  if string.sub(value, 1, 1) ~= '{' then return nil end
  local ok, record = pcall(cjson.decode, value)
  if not ok or type(record) ~= 'table' then return nil end
  if type(record.session) == 'table' then record = record.session end
  if record.token ~= id then return nil end
  local user = record.userId
  if type(user) == 'number' then return digits(user) end
  if type(user) == 'string' and user ~= '' then return user end
  return nil
end

-- Calls `command` with `key` and all of `arguments`, in parts that Lua's stack can take.
local function in_parts(command, key, arguments)
  for first = 1, #arguments, 1000 do
    redis.call(command, key, unpack(arguments, first, math.min(first + 999, #arguments)))
  end
end

-- An index that the guide's own code left is a plain set.
local function is_plain_set(index)
  return redis.call('TYPE', index).ok == 'set'
end

local function unindex(index, ids)
  in_parts(is_plain_set(index) and 'SREM' or 'ZREM', index, ids)
end

-- Lets the index live until its furthest entry has expired; never shortens its life.
local function keep_index(index, now, margin)
  local furthest = redis.call('ZREVRANGE', index, 0, 0, 'WITHSCORES')
  if not furthest[2] then return end
  local ttl = tonumber(furthest[2]) + margin - now
  if ttl > redis.call('PTTL', index) then redis.call('PEXPIRE', index, digits(ttl)) end
end

-- The entries of the JSON list that other stores keep for a user; nil when there is none.
local function legacy_entries(legacy)
  local list = redis.call('GET', legacy)
  if not list or list == TOMBSTONE then return nil end
  local ok, entries = pcall(cjson.decode, list)
  if not ok or type(entries) ~= 'table' then return nil end
  local found = {}
  for _, entry in ipairs(entries) do
    if type(entry) == 'table' and type(entry.token) == 'string' and type(entry.expiresAt) == 'number' then
      found[#found + 1] = entry
    end
  end
  return found
end

-- Folds what other stores left as a user's index into the sorted set.
local function fold(index, legacy, key_prefix, now, margin)
  local changed = false
  if is_plain_set(index) then
    local ids = redis.call('SMEMBERS', index)
    redis.call('DEL', index)
    for _, id in ipairs(ids) do
      local ttl = redis.call('PTTL', key_prefix .. id)
      if ttl > 0 then redis.call('ZADD', index, digits(now + ttl), id) end
    end
    changed = true
  end
  local entries = legacy_entries(legacy)
  if entries then
    for _, entry in ipairs(entries) do
      redis.call('ZADD', index, 'GT', digits(entry.expiresAt), entry.token)
    end
    redis.call('DEL', legacy)
    changed = true
  end
  if changed then keep_index(index, now, margin) end
end
