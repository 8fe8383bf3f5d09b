-- Where `word` stands in `value`, if it stands there once.
local function position_if_once(value, word)
  local _, at = string.find(value, word, 1, true)
  if at and not string.find(value, word, at, true) then return at end
end

-- Whose session record `value` of `id` is: the user's id. nil: it is no session record. false: this
-- text does not tell for certain, and Rust (session::Record) has to decide.
--
-- `known_value`, `known_owner`: a value that Rust has read, and its owner ('': no session record).
--
-- Certain is what this store wrote, which ends in one space, so that it has a token and an owner.
-- With one "token" and one "userId" in its text they are these, because without \u nothing else can
-- spell a member's name.
local function owner_of(id, value, known_value, known_owner)
  if value == known_value then return known_owner ~= '' and known_owner or nil end
  if not string.find(value, '^%s*{') or not string.find(value, id, 1, true) then return nil end
  if not string.find(value, '[^ ] $', -2) or string.find(value, '\\u', 1, true) then return false end
  local token, user = position_if_once(value, '"token"'), position_if_once(value, '"userId"')
  if not token or not user then return false end
  local at = string.match(value, '^%s*:%s*()', token + 1)
  if not at or string.sub(value, at, at + #id + 1) ~= '"' .. id .. '"' then return false end
  local text = string.match(value, '^%s*:%s*"([^"\\]+)"', user + 1)
  if text then return text end
  local number = string.match(value, '^%s*:%s*([1-9]%d*)%s*[,}]', user + 1)
  return number and #number <= 15 and number or false
end
