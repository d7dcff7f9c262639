/*
 * im_client_encode.c -- a server's frame, as one WebSocket message.
 *
 * Room: core.
 */

#include "im_client.h"
#include "im_frame.h"


/* By number of the oneof member; a client's own frames are not there. */
static const char *const  client_names[] = {
    [IM__FRAME__FRAME_AUTH_OK] = "auth_ok",
    [IM__FRAME__FRAME_PING] = "ping",
    [IM__FRAME__FRAME_PONG] = "pong",
    [IM__FRAME__FRAME_ACK] = "ack",
    [IM__FRAME__FRAME_PUSH] = "push",
    [IM__FRAME__FRAME_KICK] = "kick",
    [IM__FRAME__FRAME_ERROR] = "error",
    [IM__FRAME__FRAME_SYNC_NEEDED] = "sync_needed",
    [IM__FRAME__FRAME_SYNC_RES] = "sync_res",
    [IM__FRAME__FRAME_HISTORY_RES] = "history_res",
    [IM__FRAME__FRAME_CONVERSATIONS_RES] = "conversations_res",
    [IM__FRAME__FRAME_READ_RES] = "read_res",
    [IM__FRAME__FRAME_JOIN_RES] = "join_res",
    [IM__FRAME__FRAME_LEAVE_RES] = "leave_res",
    [IM__FRAME__FRAME_ROOM_EV] = "room_ev",
    [IM__FRAME__FRAME_PRESENCE_RES] = "presence_res",
    [IM__FRAME__FRAME_PRESENCE] = "presence",
    [IM__FRAME__FRAME_ROOMS_RES] = "rooms_res"
};

#define CLIENT_NAMES  (sizeof(client_names) / sizeof(client_names[0]))


size_t
im_client_encode(const Im__Frame *frame, im_encoding_t encoding,
    unsigned char *out, size_t cap)
{
    size_t                   head, len;
    const char              *type;
    const ProtobufCMessage  *inner;

    inner = NULL;
    type = NULL;

    if (encoding == IM_ENCODING_JSON) {

        if (frame->frame_case >= CLIENT_NAMES
            || client_names[frame->frame_case] == NULL)
        {
            return 0;
        }

        type = client_names[frame->frame_case];
        inner = &frame->ack->base;     /* or what else it is: a union */
        len = im_json_encode_max(inner, type);

    } else {
        len = im__frame__get_packed_size(frame);
    }

    head = im_frame_header_size(len);

    if (head + len > cap) {
        return head + len;
    }

    if (encoding == IM_ENCODING_JSON) {
        im_frame_header(out, IM_FRAME_TEXT, len);
        im_json_encode(inner, type, out + head, cap - head);

    } else {
        im_frame_header(out, IM_FRAME_BINARY, len);
        im__frame__pack(frame, out + head);
    }

    return head + len;
}
