import * as client from 'openid-client'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, GATEWAY, RESOURCE } = process.env

const provider = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined, client.ClientSecretBasic(CLIENT_SECRET))
const { access_token: token } = await client.clientCredentialsGrant(provider, { resource: RESOURCE })

const events = `${GATEWAY}/v1/topics/orders/events`
const published = await fetch(events, {
  method: 'POST',
  headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
  body: JSON.stringify({ key: 'c-1', payload: { text: 'from openid-client' } }),
})
console.log('published:', await published.json())

const read = await fetch(`${events}?from=earliest`, { headers: { authorization: `Bearer ${token}` } })
for (const { position, payload } of (await read.json()).events) console.log('read:', position, payload.text)
