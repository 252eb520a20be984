/* SPDX-License-Identifier: Apache-2.0 */
/* cli/client.h - talking to the control sockets of running machines. */
#pragma once
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct client_reply {
	int status;			/* of HTTP; 0: nobody answers there */
	json_t *body;			/* owned; NULL: none */
};

/* One request to the machine NAME; body NULL: none. 0, or an exit status after one line on stderr:
 * nobody answers, or the reply is no success (its fault_message is the line). */
int client_ask(const char *name, const char *method, const char *path, const char *body, json_t **reply);
/* The same without a line: the reply as it is. */
struct client_reply client_try(const char *name, const char *method, const char *path, const char *body);
/* A connection that has left HTTP. The descriptor, or -1 after one line (`refused`, when it is) with *status. */
int client_upgrade(const char *name, const char *path, const char *refused, int *status);

/* The names that have sockets, sorted, NULL-terminated; free the array and each. NULL: out of memory. */
char **client_names(unsigned *n);
void client_names_free(char **names);
