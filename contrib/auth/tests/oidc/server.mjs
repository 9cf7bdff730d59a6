// A real OAuth 2.0 server on a free port of 127.0.0.1, which it prints; ends when its input does.
//
// POST /test/refresh-token gives a user's refresh token, as an authorization in a browser would;
// GET /test/asked tells how often each grant was asked for; POST /test/late {"seconds": 1} makes the
// token endpoint answer late.

import { generateKeyPairSync } from 'node:crypto';
import { createServer } from 'node:http';
import { Provider } from 'oidc-provider';

const SECRET = 's+cr:t &=%/'; // survives only if it is percent-encoded for basic authentication
const LIFETIMES = { short: 2 };
const grants = ['client_credentials', 'refresh_token', 'authorization_code'];
const client = (client_id, more) => ({
  client_id,
  client_secret: SECRET,
  grant_types: grants,
  redirect_uris: ['https://app.example/callback'],
  scope: 'api:read api:write offline_access openid',
  ...more,
});
const signing = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({ format: 'jwk' });

const server = createServer();
await new Promise((ready) => server.listen(0, '127.0.0.1', ready));
const issuer = `http://127.0.0.1:${server.address().port}`;

const provider = new Provider(issuer, {
  jwks: { keys: [{ ...signing, use: 'sig', alg: 'ES256', kid: '1' }] },
  cookies: { keys: ['tests'] },
  clients: [
    client('service'),
    client('short'),
    client('poster', { token_endpoint_auth_method: 'client_secret_post' }),
    client('api'),
  ],
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  scopes: ['openid', 'offline_access', 'api:read', 'api:write', 'api:admin'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true, allowedPolicy: () => true },
    revocation: { enabled: true, allowedPolicy: () => true },
  },
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  rotateRefreshToken: true,
  ttl: {
    AccessToken: (ctx, token, { clientId }) => LIFETIMES[clientId] ?? 3600,
    ClientCredentials: (ctx, token, { clientId }) => LIFETIMES[clientId] ?? 3600,
    Grant: 3600,
    RefreshToken: 3600,
  },
});

let late = 0;
let asked = {};

async function body(request) {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString() || '{}');
}

async function refreshToken({ client_id }) {
  const grant = new provider.Grant({ accountId: 'ana', clientId: client_id });
  grant.addOIDCScope('openid offline_access api:read');
  const token = new provider.RefreshToken({
    accountId: 'ana',
    client: await provider.Client.find(client_id),
    grantId: await grant.save(),
    gty: 'authorization_code',
    scope: 'openid offline_access api:read',
  });
  return { refresh_token: await token.save() };
}

provider.use(async (ctx, next) => {
  if (ctx.path === '/token') {
    await new Promise((over) => setTimeout(over, late * 1000));
  }
  if (ctx.path === '/test/late') {
    late = (await body(ctx.req)).seconds;
    ctx.body = {};
  } else if (ctx.path === '/test/asked') {
    ctx.body = asked;
    asked = {};
  } else if (ctx.path === '/test/refresh-token') {
    ctx.body = await refreshToken(await body(ctx.req));
  } else {
    await next();
    const grant = ctx.oidc?.params?.grant_type;
    if (ctx.path === '/token') asked[grant] = (asked[grant] ?? 0) + 1;
  }
});

server.on('request', provider.callback());
process.stdin.on('end', () => process.exit()).resume();
console.log(server.address().port);
