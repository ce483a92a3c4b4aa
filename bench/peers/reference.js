// A bare Node server: parses each message and answers by its method, and does nothing else.
//
// node reference.js PORT
'use strict';
const net = require('net');

const HEARTBEAT_ANSWER = '{"method":"HB","message":"OK","retcode":"000000"}';
const UPLOAD_ANSWER = '{"method":"reqdata","message":"OK","retcode":"000000"}';
const ANSWERS = new Map([['HB', HEARTBEAT_ANSWER], ['reqdata', UPLOAD_ANSWER], ['reqdatachange', UPLOAD_ANSWER]]);

// The end of the object that begins at a place, or -1: it is not complete.
function endOfObject(text, begin) {
  let depth = 0;
  let inString = false;
  for (let place = begin; place < text.length; place++) {
    const code = text.charCodeAt(place);
    if (inString) {
      if (code === 92) place++;
      else if (code === 34) inString = false;
    } else if (code === 34) inString = true;
    else if (code === 123) depth++;
    else if (code === 125 && --depth === 0) return place + 1;
  }
  return -1;
}

function answer(socket, message) {
  const text = ANSWERS.get(message.method);
  if (text !== undefined && message.hostid) socket.write(text, 'latin1');
}

function answerSome(socket, text) {
  let begin = 0;
  for (let end; (end = endOfObject(text, begin)) !== -1; begin = end) answer(socket, JSON.parse(text.slice(begin, end)));
  socket.rest = text.slice(begin);
}

function receive(socket, bytes) {
  const text = bytes.latin1Slice();
  if (socket.rest) return answerSome(socket, socket.rest + text);
  let message;
  try {
    message = JSON.parse(text);  // nearly always a segment is one message
  } catch {
    return answerSome(socket, text);
  }
  answer(socket, message);
}

net.createServer({noDelay: true}, (socket) => {
  socket.rest = '';
  socket.on('data', (bytes) => receive(socket, bytes));
  socket.on('error', () => {});
}).listen({port: +process.argv[2], host: '127.0.0.1', backlog: 4096});
