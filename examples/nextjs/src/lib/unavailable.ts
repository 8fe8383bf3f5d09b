// What is answered while it cannot be told who is signed in: a whole page, so that proxy.ts can answer with it, or JSON for programs. The status
// says "not now" to caches, load balancers and Next.js' own router. (A rewrite to a page would answer 200, whatever status it is given.)

const PAGE = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>One moment · Sessions in Redis</title>
<noscript><meta http-equiv="refresh" content="5"></noscript>
<style>
body { display: grid; place-items: center; min-height: 100vh; margin: 0; padding: 1.25rem; box-sizing: border-box;
  background: light-dark(#f6f7f8, #101418); color: light-dark(#16202a, #e9eef2);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "DejaVu Sans", sans-serif; }
main { max-width: 27rem; padding: 1.75rem; border: 1px solid light-dark(#d9dee3, #2f3842); border-radius: 12px;
  background: light-dark(#fff, #191f25); }
h1 { margin: 0 0 .5rem; font-size: 1.75rem; line-height: 1.2; }
p { margin: 0; color: light-dark(#55616d, #a3b0bc); }
p + p { margin-top: .5rem; }
</style>
</head>
<body>
<main>
<h1>One moment</h1>
<p>We cannot see who is signed in right now. You have not been signed out.</p>
<p>This page comes back by itself.</p>
</main>
<script>
setInterval(async () => {
  const answer = await fetch(location.href, { method: "HEAD", cache: "no-store" }).catch(() => undefined);
  if (answer && answer.status < 500) location.reload();
}, 2000);
</script>
</body>
</html>
`;

const UNAVAILABLE = { status: 503, headers: { "Cache-Control": "no-store", "Retry-After": "2" } };

export function unavailable(): Response {
	const headers = { ...UNAVAILABLE.headers, "Content-Type": "text/html; charset=utf-8" };
	return new Response(PAGE, { ...UNAVAILABLE, headers });
}

export function unavailableJson(): Response {
	return Response.json({ code: "UNAVAILABLE", message: "This does not work at the moment." }, UNAVAILABLE);
}
