-- The server's clock, numbers as texts, and tombstones.

-- A number as Redis takes it. (Given a number, redis.call writes it as a floating-point one, which takes four times as long.)
local function digits(number)
  return string.format('%d', number)
end

local function now_ms()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether a value is a tombstone: what follows its first bytes may say more.
local function is_tombstone(value)
  return value and string.sub(value, 1, #TOMBSTONE) == TOMBSTONE
end
