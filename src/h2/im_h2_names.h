/*
 * im_h2_names.h -- the names that im_rpc.h has in this implementation of it.
 *
 * Both implementations can be in one program, as they are in tests: who wants
 * this one is compiled with IM_RPC_H2, and im_rpc.h then begins with this file.
 */

#ifndef IM_H2_NAMES_H
#define IM_H2_NAMES_H

#define im_rpc_set_tls             im_h2_rpc_set_tls
#define im_rpc_boot                im_h2_rpc_boot
#define im_rpc_post                im_h2_rpc_post
#define im_rpc_destroy             im_h2_rpc_destroy
#define im_rpc_timer               im_h2_rpc_timer
#define im_rpc_timer_cancel        im_h2_rpc_timer_cancel
#define im_rpc_channel_peer        im_h2_rpc_channel_peer
#define im_rpc_channel_stranger    im_h2_rpc_channel_stranger
#define im_rpc_channel_set_tls     im_h2_rpc_channel_set_tls
#define im_rpc_channel_unref       im_h2_rpc_channel_unref
#define im_rpc_call                im_h2_rpc_call
#define im_rpc_call_packed         im_h2_rpc_call_packed
#define im_rpc_call_cancel         im_h2_rpc_call_cancel
#define im_rpc_call_last           im_h2_rpc_call_last
#define im_rpc_stream_open         im_h2_rpc_stream_open
#define im_rpc_stream_add          im_h2_rpc_stream_add
#define im_rpc_stream_add_packed   im_h2_rpc_stream_add_packed
#define im_rpc_stream_flush        im_h2_rpc_stream_flush
#define im_rpc_stream_send         im_h2_rpc_stream_send
#define im_rpc_stream_close        im_h2_rpc_stream_close
#define im_rpc_stream_cancel       im_h2_rpc_stream_cancel
#define im_rpc_stream_ref          im_h2_rpc_stream_ref
#define im_rpc_stream_unref        im_h2_rpc_stream_unref
#define im_rpc_serve               im_h2_rpc_serve
#define im_rpc_server_port         im_h2_rpc_server_port
#define im_rpc_server_drain        im_h2_rpc_server_drain
#define im_rpc_reply               im_h2_rpc_reply
#define im_rpc_fail                im_h2_rpc_fail
#define im_rpc_req_left_ms         im_h2_rpc_req_left_ms
#define im_rpc_req_trace           im_h2_rpc_req_trace
#define im_rpc_refused             im_h2_rpc_refused

#endif
