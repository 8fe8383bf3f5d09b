// Sessions by their own names: listed, read and ended by token and by user. The same sessions as Better Auth's.

export { RedisSessionStore, redisSessionStore } from "better-auth-redis-store";
